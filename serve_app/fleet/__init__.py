"""Which versions are loaded and where traffic goes, and how that changes without a lost request.

state    what is served, as a pure value
ports    what the fleet needs of the world around it
fleet    brings the one about through the other
"""

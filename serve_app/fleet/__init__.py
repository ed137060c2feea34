"""Which versions are loaded and where traffic goes, and how that changes without a lost request.

state      what is served, as a pure value
declaring  which versions a configuration means
ports      what the fleet needs of the world around it
looking    what follows from what the world says
fleet      brings the one about through the other
conductor  carries experiments through
"""

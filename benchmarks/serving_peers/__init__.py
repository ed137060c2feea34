"""Our server beside what a user would write or take instead, in one run on one machine."""

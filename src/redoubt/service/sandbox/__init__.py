"""Work on a file of unknown intent in a process of its own.  The child starts here, so this imports nothing heavy."""

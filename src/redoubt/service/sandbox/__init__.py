"""Work on a file of unknown intent in a process of its own.  What is imported here must stay light: the child starts here."""

"""The steps, one file each. A step is a typed function with the name of its file; it imports no other step."""

"""The steps: one verb a file. A step is a typed function that carries its file's name; it imports no other step."""

"""The stream of the document over websockets."""

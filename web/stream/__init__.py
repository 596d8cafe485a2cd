"""The document's stream over websockets."""

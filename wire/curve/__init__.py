"""CurveZMQ keys on both ends of a link: key files, client and server side."""

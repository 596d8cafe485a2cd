"""The web server: follows the broker; serves the page, the websocket and the HTTP API."""

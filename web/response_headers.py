"""The headers of every response."""

HEADERS = {
    "Server": "gpu-monitor",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'self'; frame-ancestors 'self'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Without Cross-Origin-Opener-Policy: over plain HTTP, browsers ignore it and log an error in their
console, and the page opens no windows."""

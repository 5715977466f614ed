"""The web service: health, metrics, REST API and ops dashboard; offline, server-rendered, nothing from elsewhere."""

"""The site that the fault suite torments."""

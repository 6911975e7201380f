"""From folders to URLs: method, path, route, URL patterns."""

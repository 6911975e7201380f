"""From code to features: modules, signatures, options, policies and the registry."""

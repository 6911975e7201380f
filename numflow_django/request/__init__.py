"""One request: its body, steps, transaction, response and trace. The worker never imports it."""

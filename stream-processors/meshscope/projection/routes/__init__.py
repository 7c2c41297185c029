"""Kind `http_route`: what happens to requests for a host."""

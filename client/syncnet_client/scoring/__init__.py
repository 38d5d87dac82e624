"""From decoded blocks to a result: what is asked of the server, and what its answers mean."""

"""What `make stack-test` runs: the compose stack on a real engine. No file here is collected by pytest."""

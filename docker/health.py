"""The healthcheck of the containers: asks a port whether it is ready; exit code 1, and the reason, where not."""

import http.client
import sys

# Not urllib: a proxy of the surroundings is none of this request's business.
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
try:
    connection.request("GET", "/health/ready")
    answer = connection.getresponse()
    body = answer.read(2000).decode(errors="replace")
except OSError as error:
    sys.exit(f"no answer: {error}")
print(body, end="")  # noqa: T201
sys.exit(answer.status != 200)

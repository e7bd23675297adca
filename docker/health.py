"""The healthcheck of the containers: asks a port whether it is ready; exit code 1, and the reason, where not."""

import http.client
import os
import ssl
import sys

port = int(sys.argv[1])
# Not urllib: a proxy of the surroundings is none of this request's business.
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
if os.environ.get("ALMANAC_TLS_CERT"):
    # The certificate is for the server's name, not for the address that is asked: one's own.
    own = ssl._create_unverified_context()  # noqa: S323 # nosec B323
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=own)
try:
    connection.request("GET", "/health/ready")
    answer = connection.getresponse()
    body = answer.read(2000).decode(errors="replace")
except (OSError, http.client.HTTPException) as error:
    sys.exit(f"no answer: {error}")
print(body, end="")  # noqa: T201
sys.exit(answer.status != 200)

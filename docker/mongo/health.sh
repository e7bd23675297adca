#!/bin/sh
# The healthcheck of mongo: runs health.js as mongod's user.
# mongosh leaves a log of every run in its home, which would fill up: each run starts with an empty one.
rm -rf /tmp/health
export HOME=/tmp/health
exec setpriv --reuid=mongodb --regid=mongodb --init-groups mongosh --quiet --norc --nodb /etc/almanac/health.js

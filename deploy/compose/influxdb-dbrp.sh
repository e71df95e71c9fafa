#!/bin/sh
# Runs once in InfluxDB's container after its set-up: the bucket answers InfluxQL as database `lampguard`.
set -e
influx v1 dbrp create --org "$DOCKER_INFLUXDB_INIT_ORG" --db lampguard --rp autogen --default \
    --bucket-id "$DOCKER_INFLUXDB_INIT_BUCKET_ID"

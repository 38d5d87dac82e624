#!/bin/sh
# Start tritonserver with the profile named in SYNCNET_PROFILE; arguments are passed on to it.
# SYNCNET_ADMIN_KEY opens administration to who shows it; SYNCNET_HTTP_INFERENCE=1 opens inference
# over HTTP to everybody, which is safe only behind what bounds size and depth of JSON.
set -eu

repository=${SYNCNET_MODEL_REPOSITORY:-/models}
profile=${SYNCNET_PROFILE:-default}

# Triton serves config.pbtxt of every model that has no configs/<profile>.pbtxt: right for
# `default`, which names none, but a typo would go unnoticed.
if [ "$profile" != default ] && ! ls "$repository"/*/configs/"$profile".pbtxt > /dev/null 2>&1; then
    echo "SYNCNET_PROFILE=$profile: no model in $repository has configs/$profile.pbtxt" >&2
    exit 1
fi

# Python models that were killed leave their shared memory behind. In a Kubernetes pod /dev/shm
# outlasts the container, and a few restarts would fill it. The host's name is the pod's own.
regions=syncnet-container-$(uname -n)-
rm -f "/dev/shm/$regions"*

# Scoring goes over gRPC; HTTP is there for the probes. Without a key of yours, one that nobody knows
# closes the rest.
key=${SYNCNET_ADMIN_KEY:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
administration=shared-memory,model-repository,trace,logging
http=metadata,statistics,model-config,$administration
[ "${SYNCNET_HTTP_INFERENCE:-0}" = 1 ] || http=$http,inference

# Where ONNX Runtime keeps the engines of this profile: in ./engines. There is a folder for each
# version of the towers, so that engines of old weights go. Without a volume it is new and private,
# because whoever can write there chooses what runs here.
if [ "$profile" = tensorrt-ep ]; then
    umask 077
    repository=$(cd "$repository" && pwd)
    cache=${SYNCNET_CACHE:-}
    if [ -z "$cache" ] || [ ! -w "$cache" ]; then
        cache=$(mktemp -d)
    fi
    version=$(ls "$repository/video_tower" | grep -x '[1-9][0-9]*' | sort -n | tail -n 1)
    mkdir -p "$cache/version-$version"
    for folder in "$cache"/version-*; do
        [ "$folder" = "$cache/version-$version" ] || rm -rf "$folder"
    done
    cd "$cache/version-$version"
fi

# The summaries give the percentiles of the latency; see docs/operations.md.
tritonserver \
    "--model-repository=$repository" \
    "--model-config-name=$profile" \
    --model-control-mode=none \
    "--backend-config=python,shm-region-prefix-name=$regions" \
    --metrics-config=summary_latencies=true \
    "--grpc-restricted-protocol=$administration:admin-key=$key" \
    "--http-restricted-api=$http:admin-key=$key" \
    "$@" &
server=$!

# It must get the SIGTERM with which its container is stopped.
trap 'kill -TERM "$server"' TERM INT

# Triton does not start the process of a Python model again when it has died, answers every later
# request with an error, and calls itself ready. Ended, the container is started again. Twice,
# because those that end in order are dead for a moment, too.
(
    dead=0
    while [ "$dead" -lt 2 ]; do
        sleep 1
        # The kill below is lost if this shell has only just been forked and still has the trap.
        kill -0 "$server" 2> /dev/null || exit 0
        if grep -qs "(triton_python_b) Z $server " /proc/[0-9]*/stat; then dead=$((dead + 1)); else dead=0; fi
    done
    echo "the process of a Python model died, and tritonserver cannot replace it: ending" >&2
    kill -KILL "$server"
) &
watch=$!

status=0
wait "$server" || status=$?
# The trap ends `wait` before the server has ended.
while kill -0 "$server" 2> /dev/null; do
    status=0
    wait "$server" || status=$?
done
kill "$watch" 2> /dev/null || true
exit "$status"

#!/bin/sh
# Start tritonserver with the profile named in SYNCNET_PROFILE; arguments are passed on to it.
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

# exec: tritonserver must get the SIGTERM with which its container is stopped.
# The summaries give the percentiles of the latency; see docs/operations.md.
exec tritonserver \
    "--model-repository=$repository" \
    "--model-config-name=$profile" \
    --model-control-mode=none \
    "--backend-config=python,shm-region-prefix-name=$regions" \
    --metrics-config=summary_latencies=true \
    "$@"

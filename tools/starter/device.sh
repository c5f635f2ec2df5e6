#!/bin/sh
# Trains the starter model of drawn cloth on this machine's GPU; see README.md beside this file.
#
#     ./device.sh OUT [--minutes 8.4] [--tiny]
#
# Needs a Python with PyTorch (PYTHON, or python3), transformers, safetensors, scipy, Pillow, peft and diffusers. What is missing is
# installed for this run alone from wheels in ./wheels, without a network. Nothing else is fetched.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
if [ $# -lt 1 ]; then
    echo "usage: device.sh OUT [--minutes 8.4] [--tiny]" >&2
    exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift

export ADIRE_STARTER_WORK="${ADIRE_STARTER_WORK:-/tmp/adire-starter}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OMP_WAIT_POLICY=PASSIVE PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
mkdir -p "$ADIRE_STARTER_WORK"
# Looks for them without importing them, which would take a while.
missing() {
    "$python" -c 'import sys; from importlib.util import find_spec; print(*(m for m in sys.argv[1:] if not find_spec(m)))' "$@"
}
if [ -n "$(missing torch)" ]; then
    echo "device.sh: $python has no PyTorch; name one that has in PYTHON (PYTHON=/path/to/python3 ./device.sh OUT)" >&2
    exit 1
fi
needed="diffusers peft transformers safetensors scipy PIL"
if [ -n "$(missing $needed)" ] && ls "$here"/wheels/*.whl >/dev/null 2>&1; then
    site=$ADIRE_STARTER_WORK/site
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" "$here"/wheels/*.whl
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
missing=$(missing $needed)
if [ -n "$missing" ]; then
    echo "device.sh: $python lacks $missing; install it, or put its wheels into $here/wheels" >&2
    exit 1
fi
cd "$here"
exec "$python" -m cloth.train --out "$out" "$@"

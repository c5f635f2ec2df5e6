#!/bin/sh
# Tests and measures Adire on this machine's GPU; see README.md beside this file and `./run.sh --help`.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

for packed in "$here"/*.gz "$here"/checks/*.gz; do
    [ -f "$packed" ] || continue
    gzip -dc "$packed" >"$packed.part"
    chmod +x "$packed.part"
    mv "$packed.part" "${packed%.gz}"
    rm "$packed"
done

if ! "$python" -c 'import torch' 2>/dev/null; then
    echo "run.sh: $python has no PyTorch; name one that has in PYTHON (PYTHON=/path/to/python3 ./run.sh)" >&2
    exit 1
fi
# CUDA's libraries: those beside this file, then those bundled with PyTorch, then the system's.
libraries=$("$python" - <<'PY'
import glob, os, torch
site = os.path.dirname(os.path.dirname(torch.__file__))
print(":".join(sorted(glob.glob(os.path.join(site, "nvidia", "*", "lib")))))
PY
)
LD_LIBRARY_PATH="$here/lib:$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
# Without a driver the program could not even start to say so; this stand-in answers "no driver" to every call.
if ! "$python" -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null; then
    LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$here/no-driver"
fi
missing=$(ldd "$here/adire" | awk '/not found/ { print $1 }' | sort -u | tr '\n' ' ')
if [ -n "$missing" ]; then
    echo "run.sh: these libraries are missing: $missing" >&2
    echo "The program was built for CUDA CUDA_VERSION; use a PyTorch built for the same major version, or install them:" >&2
    echo "  $python -m pip install nvidia-cublas nvidia-cuda-nvrtc nvidia-curand nvidia-cuda-runtime" >&2
    exit 1
fi
exec "$python" "$here/run.py" "$@"

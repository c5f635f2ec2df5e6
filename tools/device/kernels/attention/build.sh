#!/bin/bash
# Compiles libattn.so beside this file, for Hopper or the compute capability that is given: ./build.sh [90]
set -eu
cd "$(dirname "$0")"
nvcc=${CUDA_HOME:?CUDA_HOME does not name a CUDA 13 toolkit}/bin/nvcc
capability=${1:-90}
common=(-O3 -std=c++17 -gencode "arch=compute_$capability,code=sm_$capability" -Xptxas -v -Xcompiler -fPIC
    -Xcompiler -fvisibility=hidden -cudart static)
mkdir -p obj
for width in 40 80 160 64; do
    "$nvcc" "${common[@]}" -DATTENTION_PART="$width" -c attention.cu -o "obj/$width.o" 2>"obj/$width.log"
done
"$nvcc" "${common[@]}" -c attn_lib.cu -o obj/lib.o 2>obj/lib.log
"$nvcc" -shared "${common[@]}" obj/*.o -o libattn.so

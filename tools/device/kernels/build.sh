#!/bin/bash
# Compiles the candidate kernels into libcand.so beside this file, for Hopper. One line for each with its time and spills.
#
#   CUDA_HOME=… CUTLASS=… ./build.sh
#
# CUTLASS is the folder `cutlass_library/source` of PyPI's nvidia-cutlass 4.2.0.0, unpacked.
set -eu
cd "$(dirname "$0")"
nvcc=${CUDA_HOME:?CUDA_HOME names no CUDA 13 toolkit}/bin/nvcc
source=${CUTLASS:?CUTLASS names no folder of CUTLASS}
common=(-I"$source/include" -I"$source/tools/util/include" -I"$source/examples/41_fused_multi_head_attention" -O3
    -std=c++17 -DNDEBUG -DCUTE_SM90_EXTENDED_MMA_SHAPES_ENABLED --expt-relaxed-constexpr -Xcompiler -fPIC -Xptxas -v
    -cudart static -w)
plain=(-gencode arch=compute_90,code=sm_90)
# wgmma and the tensor memory accelerator, of no other generation.
hopper=(-gencode arch=compute_90a,code=sm_90a)
mkdir -p obj

one() { # name, source, further arguments
    local name=$1 file=$2
    shift 2
    [ "obj/$name.o" -nt "$file" ] && return
    SECONDS=0
    if "$nvcc" "${common[@]}" "$@" -DNAME="$name" -c "$file" -o "obj/$name.part" >"obj/$name.log" 2>&1; then
        mv "obj/$name.part" "obj/$name.o"
        echo "$name: $SECONDS s, $(grep -o '[0-9]* bytes spill stores' "obj/$name.log" | sort -rn | head -1)"
    else
        echo "$name: does not compile, see obj/$name.log"
    fi
}

conv80() { # threadblock M N K, warp M N, stages, sums: 0 serial, 1 in f32 partial sums
    local suffix=""
    [ "$7" = 1 ] && suffix=p
    one "conv80${suffix}_$1x$2x$3_$6" conv80.cu "${plain[@]}" -DTM="$1" -DTN="$2" -DTK="$3" -DWM="$4" -DWN="$5" -DST="$6" \
        -DPAR="$7"
}
gemm80() {
    one "gemm80_$1x$2x$3_$6" gemm80.cu "${plain[@]}" -DTM="$1" -DTN="$2" -DTK="$3" -DWM="$4" -DWN="$5" -DST="$6"
}
gemm90() { # tile M N K, cluster, schedule: pp or co
    one "gemm90$5_$1x$2x$3_$4" gemm90.cu "${hopper[@]}" -DTM="$1" -DTN="$2" -DTK="$3" -DCM="$4" \
        -DPP="$([ "$5" = pp ] && echo 1 || echo 0)"
}
conv90() {
    one "conv90_$1x$2x$3_$4" conv90.cu "${hopper[@]}" -DTM="$1" -DTN="$2" -DTK="$3" -DCM="$4" -DCOOP=0
}

conv80 128 128 32 64 64 4 0
conv80 128 160 32 64 80 4 0
conv80 128 64 32 64 32 4 0
conv80 64 64 64 32 32 3 0
conv80 256 128 32 64 64 3 0
conv80 64 128 32 32 64 4 0
conv80 128 128 32 64 64 4 1
conv80 64 64 64 32 32 4 1
conv80 128 160 32 64 80 4 1
conv80 128 64 32 64 32 4 1
gemm80 128 128 32 64 64 4
gemm80 128 256 32 64 64 3
gemm80 64 128 32 32 64 4
gemm80 64 64 64 32 32 4
gemm80 128 64 32 64 32 4
for tile in "64 64 64" "64 128 128" "32 128 65536"; do
    read -r queries keys width <<<"$tile"
    one "attn41_${queries}x${keys}x$width" attn41.cu "${plain[@]}" -DQB="$queries" -DKB="$keys" -DMK="$width"
done
gemm90 64 160 64 1 pp
gemm90 128 128 64 1 pp
gemm90 64 128 64 1 pp
gemm90 128 160 64 1 co
gemm90 128 256 64 1 co
conv90 128 160 64 1
conv90 128 128 64 1
one own own.cu "${plain[@]}"
"$nvcc" -shared -cudart static "${plain[@]}" -Xcompiler -fPIC obj/*.o -o libcand.so
strip libcand.so

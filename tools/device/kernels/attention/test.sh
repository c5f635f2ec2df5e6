#!/bin/bash
# Builds attention.cu with g++ against the emulator and tests every configuration. No GPU, no CUDA toolkit needed.
cd "$(dirname "$0")" && g++ -std=c++17 -O2 -Wall -Wno-unknown-pragmas -o /tmp/attention_test attention_test.cpp && exec /tmp/attention_test "$@"

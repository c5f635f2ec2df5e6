// Tests every configuration of attention.cu on the CPU emulator against float64. Build and run: ./test.sh
#include "attention.cu"
#include <algorithm>
#include <string>
static uint32_t seed = 1;
static float rnd() { float s = 0; for (int i = 0; i < 12; i++) { seed = seed * 1664525u + 1013904223u; s += (seed >> 8) * (1.0f / (1 << 24)); } return s - 6; }
struct Shape { int b, h, nq, nk, packed; float gain; };
int main(int argc, char** argv) {
  const Shape shapes[] = {{1, 1, 1, 1, 0, 1}, {2, 2, 70, 77, 0, 1}, {1, 2, 133, 133, 1, 1}, {1, 1, 40, 300, 0, 6}, {1, 1, 17, 81, 0, 1}, {1, 1, 270, 129, 0, 1}, {1, 1, 16, 64, 1, 1}, {1, 1, 15, 512, 0, 3}};
  double worst = 0; int bad = 0, n = 0;
  for (int c = 0; c < attention_count; c++) {
    const AttentionEntry& e = attention_table[c]; const bool causal = e.flags & CAUSAL;
    if (argc > 1 && !strstr(e.name, argv[1])) continue;
    double w = 0; std::string fails;
    for (const Shape& s0 : shapes) {
      Shape s = s0; if (causal) s.nk = s.nq; const int C = s.h * e.d;
      // Everything outside the tensors, gaps between rows included, is NaN. The output starts as NaN, too.
      const int pad = s.packed ? 0 : 24, qs = s.packed ? 3 * C : C + pad, ks = qs, vs = s.packed ? qs : C + 8, os = C + 16, G = 4096;
      const uint16_t NAN16 = 0x7e2a;
      std::vector<uint16_t> Q(G * 2 + (size_t)s.b * std::max(s.nq, s.nk) * qs, NAN16), K(G * 2 + (size_t)s.b * s.nk * ks, NAN16), V(G * 2 + (size_t)s.b * s.nk * vs, NAN16), O(G * 2 + (size_t)s.b * s.nq * os, NAN16);
      uint16_t *q = Q.data() + G, *k = s.packed ? q + C : K.data() + G, *v = s.packed ? q + 2 * C : V.data() + G, *o = O.data() + G;
      auto fill = [&](uint16_t* x, int rows, int st, float g) { for (int i = 0; i < s.b * rows; i++) for (int j = 0; j < C; j++) x[(size_t)i * st + j] = emu::f2h(rnd() * g); };
      fill(q, s.nq, qs, s.gain); fill(k, s.nk, ks, 1); fill(v, s.nk, vs, 1);
      if (s.gain > 5) for (int i = 0; i < s.nk; i++) for (int j = 0; j < C; j++) k[(size_t)i * ks + j] = emu::f2h(emu::h2f(k[(size_t)i * ks + j]) * (0.2f + 1.5f * i / s.nk));  // maxima that grow with the key
      AttentionParams p{q, k, v, o, s.nq, s.nk, qs, ks, vs, os, (float)(1.4426950408889634 / sqrt((double)e.d))};
      e.run(p, s.b, s.h, nullptr); n++;
      double num = 0, den = 0; long wrong = 0; std::vector<double> pr(s.nk), acc(e.d);
      for (int b = 0; b < s.b; b++) for (int h = 0; h < s.h; h++) for (int i = 0; i < s.nq; i++) {
        double mx = -1e300, l = 0; const int lim = causal ? i + 1 : s.nk;
        for (int j = 0; j < lim; j++) { double t = 0; for (int x = 0; x < e.d; x++) t += (double)emu::h2f(q[((size_t)b * s.nq + i) * qs + h * e.d + x]) * emu::h2f(k[((size_t)b * s.nk + j) * ks + h * e.d + x]); pr[j] = t / sqrt((double)e.d); mx = std::max(mx, pr[j]); }
        std::fill(acc.begin(), acc.end(), 0.0);
        for (int j = 0; j < lim; j++) { double t = exp(pr[j] - mx); l += t; for (int x = 0; x < e.d; x++) acc[x] += t * emu::h2f(v[((size_t)b * s.nk + j) * vs + h * e.d + x]); }
        for (int x = 0; x < e.d; x++) { double r = acc[x] / l, y = emu::h2f(o[((size_t)b * s.nq + i) * os + h * e.d + x]); if (!(fabs(y) < 1e4)) wrong++; else num += (y - r) * (y - r); den += r * r; }
      }
      for (size_t i = 0; i < O.size(); i++) { long at = (long)i - G; bool in = at >= 0 && at < (long)s.b * s.nq * os && at % os < C; if (!in && O[i] != NAN16) wrong++; }
      double err = sqrt(num / den); w = std::max(w, err);
      if (wrong || !(err < 1e-3)) { char t[160]; snprintf(t, sizeof t, " [b%d h%d nq%d nk%d packed%d: err %.2e wrong %ld]", s.b, s.h, s.nq, s.nk, s.packed, err, wrong); fails += t; bad++; }
    }
    worst = std::max(worst, w);
    printf("%-36s threads %3d smem %6d  worst relative error %.2e %s\n", e.name, e.threads, e.smem, w, fails.empty() ? "ok" : fails.c_str()); fflush(stdout);
  }
  printf("%d runs, %d failures, worst relative error %.2e\n", n, bad, worst);
  return bad != 0;
}

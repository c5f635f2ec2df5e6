#!/usr/bin/env python3
"""Checks and times candidate kernels of libcand.so against torch on the shapes of one guided SD 1.5 UNet step
(batch 2, 64x64 latent) and of the VAE decoder.  python3 ops.py --lib libcand.so --out DIR [--seconds N]
The parent starts one worker; when a candidate kills the worker (sticky CUDA error, hang) it is disabled and a new worker takes over."""
import argparse, ctypes, json, os, queue, subprocess, sys, threading, time, traceback
from collections import OrderedDict, defaultdict
TOL = 2e-3
CONV80 = ['128x128x32_4', '128x160x32_4', '128x64x32_4', '64x64x64_3', '256x128x32_3', '64x128x32_4']
CONV80P = ['128x128x32_4', '64x64x64_4', '128x160x32_4', '128x64x32_4']
GEMM80 = ['128x128x32_4', '128x256x32_3', '64x128x32_4', '64x64x64_4', '128x64x32_4']
GEMM90 = ['pp_64x160x64_1', 'co_128x160x64_1', 'co_128x256x64_1', 'pp_128x128x64_1', 'pp_64x128x64_1', 'co_128x256x64_2']
CONV90 = ['_128x160x64_1', '_128x128x64_1', '_256x128x64_1', '_128x256x64_1', '_128x64x64_1', '_256x160x64_1']
ATTN = ['64x64x64', '64x128x128', '32x128x65536']

# ---------------------------------------------------------------- shapes
def step_shapes(B=2, H=64, W=64):
    ops = []
    def conv(h, w, ci, co, k=3, s=1): ops.append(('conv', B, h, w, ci, co, k, s)); return h // s, w // s
    def gemm(M, N, K): ops.append(('gemm', M, N, K))
    def gn(h, w, c, act): ops.append(('gn', B, h * w, c, act))
    def resnet(h, w, ci, co):
        gn(h, w, ci, 1); conv(h, w, ci, co); gn(h, w, co, 1); conv(h, w, co, co)
        if ci != co: gemm(B * h * w, co, ci)
    def tr(h, w, c):
        t = h * w; M = B * t
        gn(h, w, c, 0); gemm(M, c, c)
        ops.append(('ln', M, c)); gemm(M, 3 * c, c); ops.append(('attn', B, 8, t, t, c // 8)); gemm(M, c, c)
        ops.append(('ln', M, c)); gemm(M, c, c); ops.append(('attn', B, 8, t, 77, c // 8)); gemm(M, c, c)
        ops.append(('ln', M, c)); gemm(M, 8 * c, c); ops.append(('geglu', M, 4 * c)); gemm(M, c, 4 * c); gemm(M, c, c)
    ch = [320, 640, 1280, 1280]; h, w = conv(H, W, 4, 320); skips = [320]; c = 320
    for i, co in enumerate(ch):
        for _ in range(2):
            resnet(h, w, c, co); c = co
            if i < 3: tr(h, w, co)
            skips.append(co)
        if i < 3: h, w = conv(h, w, co, co, 3, 2); skips.append(co)
    resnet(h, w, 1280, 1280); tr(h, w, 1280); resnet(h, w, 1280, 1280)
    for i, co in enumerate(reversed(ch)):
        for _ in range(3):
            resnet(h, w, c + skips.pop(), co); c = co
            if i > 0: tr(h, w, co)
        if i < 3: h, w = 2 * h, 2 * w; conv(h, w, co, co)
    gn(h, w, 320, 1); conv(h, w, 320, 4)
    return ops
VAE = [(('conv', 1, 64, 64, 512, 512, 3, 1), 10), (('conv', 1, 128, 128, 512, 512, 3, 1), 7), (('conv', 1, 256, 256, 512, 512, 3, 1), 1),
       (('conv', 1, 256, 256, 512, 256, 3, 1), 1), (('conv', 1, 256, 256, 256, 256, 3, 1), 5), (('conv', 1, 512, 512, 256, 256, 3, 1), 1),
       (('conv', 1, 512, 512, 256, 128, 3, 1), 1), (('conv', 1, 512, 512, 128, 128, 3, 1), 5)]
def cost(s):
    k = s[0]
    if k == 'conv': _, B, h, w, ci, co, r, st = s; m = B * (h // st) * (w // st); f = 2 * m * co * ci * r * r; b = 2 * (B * h * w * ci + ci * co * r * r + m * co)
    elif k == 'gemm': _, M, N, K = s; f = 2 * M * N * K; b = 2 * (M * N + M * K + N * K)
    elif k == 'attn': _, B, H, nq, nk, d = s; f = 4 * B * H * nq * nk * d; b = 4 * B * H * d * (nq + nk)
    elif k == 'gn': f = 0; b = 4 * s[1] * s[2] * s[3]
    elif k == 'ln': f = 0; b = 4 * s[1] * s[2]
    else: f = 0; b = 6 * s[1] * s[2]
    return f, b
def key(s): return s[0] + ' ' + 'x'.join(str(v) for v in s[1:])
def worklist():
    cnt = OrderedDict()
    for s in step_shapes(): cnt[s] = cnt.get(s, 0) + 1
    def est(sc): f, b = cost(sc[0]); return max(f / 6e14, b / 2.5e12) * sc[1]
    u = sorted(cnt.items(), key=est, reverse=True); v = sorted(VAE, key=est, reverse=True)
    return [('unet', s, c) for s, c in u] + [('vae', s, c) for s, c in v]

# ---------------------------------------------------------------- library
P, I, Z, F_ = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_float
SIG = {'conv': [P] * 5 + [I] * 10 + [P, Z, P], 'gemm': [P] * 5 + [I] * 4 + [P, Z, P], 'attn': [P] * 4 + [I] * 8 + [F_, P, Z, P],
       'gn': [P] * 4 + [I] * 4 + [F_, I, I, P, Z, P], 'ln': [P] * 4 + [I] * 2 + [F_, P], 'geglu': [P] * 2 + [I] * 2 + [P]}
def load(path):
    lib = ctypes.CDLL(os.path.abspath(path)); have = {}
    def reg(name, kind):
        try: f = getattr(lib, name)
        except AttributeError: return
        f.argtypes = SIG[kind]; f.restype = ctypes.c_int; have[name] = f
    for n in CONV80: reg('conv80_' + n, 'conv')
    for n in CONV80P: reg('conv80p_' + n, 'conv')
    for n in CONV90: reg('conv90' + n, 'conv')
    for n in GEMM80: reg('gemm80_' + n, 'gemm')
    for n in GEMM90: reg('gemm90' + n, 'gemm')
    for n in ATTN: reg('attn41_' + n, 'attn')
    reg('own_groupnorm', 'gn'); reg('own_layernorm', 'ln'); reg('own_geglu', 'geglu')
    return lib, have
def tile(name): return tuple(int(v) for v in name.split('_')[1].split('x'))
def splits(name, m, n, kper):
    """Run-time split-k counts worth trying: fill up to about two waves of 132 SMs."""
    if '90' in name.split('_')[0]: return [1]
    tm, tn, tk = tile(name); t = -(-m // tm) * -(-n // tn); it = -(-kper // tk)
    if t >= 132: return [1]
    o = [s for s in (2, 3, 4, 5, 8, 10, 16, 20) if s * t <= 330 and it >= 2 * s]
    return [1] + o[-4:]

# ---------------------------------------------------------------- worker
def worker(a):
    def out(tag, **kw): print(tag + ' ' + json.dumps(kw), flush=True)
    import torch, torch.nn.functional as F
    st = json.load(open(a.state)); disabled = set(st['disabled']); done = set(tuple(x) for x in st['done']); deadline = st['deadline']
    torch.backends.cuda.matmul.allow_tf32 = False; torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.set_grad_enabled(False); torch.manual_seed(1)
    dev = torch.device('cuda'); lib, have = load(a.lib)
    WS = 256 << 20; ws = torch.zeros(WS, dtype=torch.uint8, device=dev); side = torch.cuda.Stream()
    out('I', torch=torch.__version__, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(), gpu=torch.cuda.get_device_name(0),
        sms=torch.cuda.get_device_properties(0).multi_processor_count, have=sorted(have))
    w0 = torch.randn(4096, 4096, device=dev, dtype=torch.half); t0 = time.time()
    while time.time() - t0 < 0.4: (w0 @ w0); torch.cuda.synchronize()
    def rel(y, ref): 
        y = y.float(); e = ((y - ref).norm() / ref.norm()).item(); return e if e == e else float('inf')
    def timed(fn, n):
        """fn(i, stream): launches variant i. Graph of r launches; microseconds for one, median of 5 replays."""
        r = n * -(-20 // n); g = torch.cuda.CUDAGraph()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            fn(0, side.cuda_stream); side.synchronize()
            g.capture_begin()
            try:
                for i in range(r): fn(i % n, side.cuda_stream)
            finally: g.capture_end()
        torch.cuda.synchronize(); ev = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(5)]
        with torch.cuda.stream(side):
            g.replay()
            for b, e in ev: b.record(); g.replay(); e.record()
        torch.cuda.synchronize(); ts = sorted(b.elapsed_time(e) * 1e3 / r for b, e in ev); del g
        return ts[2], ts[0]
    class Over(Exception): pass
    def attempt(shape, prov, cand, fn, n, y, ref, pre=None):
        """fn(i, stream) -> status int (candidates) or tensor (torch)."""
        if (key(shape), prov) in done or (cand and cand in disabled): return
        if time.time() > deadline: raise Over()
        out('T', shape=key(shape), prov=prov, cand=cand)
        r = {'shape': key(shape), 'prov': prov}
        try:
            if cand:
                y.fill_(float('nan')); torch.cuda.synchronize()
                rc = fn(0, torch.cuda.current_stream().cuda_stream)
                if rc != 0: r['status'] = 'rc %d' % rc
                torch.cuda.synchronize(); yy = y
            else: yy = fn(0, None); torch.cuda.synchronize()
            if 'status' not in r:
                if ref is not None: r['err'] = rel(yy, ref)
                if ref is not None and not r['err'] < TOL: r['status'] = 'WRONG'; ws[:1 << 20].zero_()
                else:
                    if cand:
                        def call(i, s):
                            c = fn(i, s)
                            if c: raise RuntimeError('rc %d' % c)
                        r['us'], r['min'] = timed(call, n)
                        # the graph's last variants share the output: it must still be finite
                        if not bool(torch.isfinite(y).all()): r['status'] = 'NONFINITE'; r.pop('us')
                    else: r['us'], r['min'] = timed(fn, n)
                    r.setdefault('status', 'ok')
        except Over: raise
        except Exception as e:
            r['status'] = 'EXC ' + str(e).replace('\n', ' ')[:160]
            try: torch.cuda.synchronize(); torch.zeros(8, device=dev).sum().item(); ws[:1 << 20].zero_()
            except Exception: r['sticky'] = 1; out('R', **r); os._exit(3)
        out('R', **r)
    def nsets(wbytes): return max(1, min(56, -(-110_000_000 // max(1, wbytes))))
    rescheck = set()
    def rescheck_once(name, fn, y, ref):
        if name in rescheck or name in disabled or ('residual', name) in done: return
        rescheck.add(name); out('T', shape='residual', prov=name, cand=name); r = {'shape': 'residual', 'prov': name}
        try:
            y.fill_(float('nan')); torch.cuda.synchronize(); rc = fn(torch.cuda.current_stream().cuda_stream); torch.cuda.synchronize()
            r['status'] = 'rc %d' % rc if rc else 'ok'
            if not rc: r['err'] = rel(y, ref); r['status'] = 'ok' if r['err'] < TOL else 'WRONG'
        except Exception as e: r['status'] = 'EXC ' + str(e)[:120]; r['sticky'] = 1; out('R', **r); os._exit(3)
        out('R', **r)
    def h(*s, sc=1.0): return (torch.randn(*s, device=dev) * sc).half()
    def do_conv(s):
        _, B, H, W, ci, co, k, sd = s; pad = k // 2; K = ci * k * k; p, q = H // sd, W // sd
        x = h(B, ci, H, W).contiguous(memory_format=torch.channels_last); n = nsets(co * K * 2)
        w = h(co, ci, k, k, sc=K ** -0.5).contiguous(memory_format=torch.channels_last); ww = [w] + [w.clone(memory_format=torch.preserve_format) for _ in range(n - 1)]
        b = h(co, sc=0.5); y = torch.empty(B, co, p, q, device=dev, dtype=torch.half, memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = False
        ref = F.conv2d(x.float().contiguous(), w.float().contiguous(), b.float(), sd, pad)
        torch.backends.cudnn.benchmark = True
        attempt(s, 'torch', None, lambda i, st: F.conv2d(x, ww[i], b, sd, pad), n, None, ref)
        attempt(s, 'cudnn_nobias', None, lambda i, st: F.conv2d(x, ww[i], None, sd, pad), n, None, None)
        if ci % 8 or co % 8: return
        rs = h(B, co, p, q).contiguous(memory_format=torch.channels_last)
        for name, f in have.items():
            if not name.startswith('conv'): continue
            def run(i, st, sl, bias=b, res=None): return f(x.data_ptr(), ww[i].data_ptr(), bias.data_ptr() if bias is not None else None, res.data_ptr() if res is not None else None,
                y.data_ptr(), B, H, W, ci, co, k, k, pad, sd, sl, ws.data_ptr(), WS, st)
            for sl in splits(name, B * p * q, co, ci):
                if name.startswith('conv80p') and sl == 1: continue
                attempt(s, name + (':%d' % sl if sl > 1 else ''), name, lambda i, st, sl=sl: run(i, st, sl), n, y, ref)
            bb = None if name.startswith('conv80_') else b
            rescheck_once(name, lambda st: run(0, st, 1, bb, rs), y, ref + rs.float() - (b.float().view(1, -1, 1, 1) if bb is None else 0))
    def do_gemm(s):
        _, M, N, K = s; x = h(M, K); n = nsets(N * K * 2); w = h(N, K, sc=K ** -0.5); ww = [w] + [w.clone() for _ in range(n - 1)]
        b = h(N, sc=0.5); y = torch.empty(M, N, device=dev, dtype=torch.half); ref = F.linear(x.float(), w.float(), b.float()); rs = h(M, N)
        attempt(s, 'torch', None, lambda i, st: F.linear(x, ww[i], b), n, None, ref)
        for name, f in have.items():
            if name.startswith('gemm'):
                def run(i, st, sl, bias=b, res=None): return f(x.data_ptr(), ww[i].data_ptr(), bias.data_ptr() if bias is not None else None, res.data_ptr() if res is not None else None,
                    y.data_ptr(), M, N, K, sl, ws.data_ptr(), WS, st)
                for sl in splits(name, M, N, K): attempt(s, name + (':%d' % sl if sl > 1 else ''), name, lambda i, st, sl=sl: run(i, st, sl), n, y, ref)
                bb = None if name.startswith('gemm80') else b
                rescheck_once(name, lambda st: run(0, st, 1, bb, rs), y, ref + rs.float() - (b.float() if bb is None else 0))
            elif name.startswith('conv80p'):
                for sl in splits(name, M, N, K):
                    if sl > 1: attempt(s, name + ':%d' % sl, name, lambda i, st, sl=sl: f(x.data_ptr(), ww[i].data_ptr(), b.data_ptr(), None, y.data_ptr(), 1, M, 1, K, N, 1, 1, 0, 1, sl, ws.data_ptr(), WS, st), n, y, ref)
    def do_attn(s):
        from torch.nn.attention import sdpa_kernel, SDPBackend
        _, B, H, nq, nk, d = s; C = H * d
        if nq == nk: qkv = h(B, nq, 3 * C); q, kk, v = qkv[..., :C], qkv[..., C:2 * C], qkv[..., 2 * C:]
        else: q = h(B, nq, C); kv = h(B, nk, 2 * C); kk, v = kv[..., :C], kv[..., C:]
        Q, Kt, V = (t.unflatten(-1, (H, d)).transpose(1, 2) for t in (q, kk, v)); scale = d ** -0.5
        ref = torch.empty(B, nq, C, device=dev)
        for bi in range(B): ref[bi] = (torch.softmax(Q[bi].float() @ Kt[bi].float().transpose(1, 2) * scale, -1) @ V[bi].float()).transpose(0, 1).reshape(nq, C)
        y = torch.empty(B, nq, C, device=dev, dtype=torch.half)
        for nm, be in (('torch_flash', 'FLASH_ATTENTION'), ('torch_cudnn', 'CUDNN_ATTENTION'), ('torch_efficient', 'EFFICIENT_ATTENTION')):
            def sd(i, st):
                with sdpa_kernel([getattr(SDPBackend, be)]): return F.scaled_dot_product_attention(Q, Kt, V).transpose(1, 2).reshape(B, nq, C)
            attempt(s, nm, None, sd, 1, None, ref)
        for name, f in have.items():
            if not name.startswith('attn41') or tile(name)[2] < d: continue
            attempt(s, name, name, lambda i, st: f(q.data_ptr(), kk.data_ptr(), v.data_ptr(), y.data_ptr(), B, H, nq, nk, d, q.stride(1), kk.stride(1), v.stride(1), scale, ws.data_ptr(), WS, st), 1, y, ref)
    def do_gn(s):
        _, B, hw, C, act = s; e = int(hw ** 0.5); x = (h(B, C, e, e) + 0.5).contiguous(memory_format=torch.channels_last); g = h(C) + 1; b = h(C); eps = 1e-5 if act else 1e-6
        fn = (lambda z, gg, bb: F.silu(F.group_norm(z, 32, gg, bb, eps))) if act else (lambda z, gg, bb: F.group_norm(z, 32, gg, bb, eps))
        ref = fn(x.float().contiguous(), g.float(), b.float()); y = torch.empty_like(x)
        attempt(s, 'torch', None, lambda i, st: fn(x, g, b), 1, None, ref)
        f = have.get('own_groupnorm')
        if f:
            for parts in (8, 16, 33, 66, 132, 264):
                if parts <= hw: attempt(s, 'own_groupnorm:%d' % parts, 'own_groupnorm', lambda i, st: f(x.data_ptr(), g.data_ptr(), b.data_ptr(), y.data_ptr(), B, hw, C, 32, eps, act, parts, ws.data_ptr(), WS, st), 1, y, ref)
    def do_ln(s):
        _, M, C = s; x = h(M, C) + 0.5; g = h(C) + 1; b = h(C); ref = F.layer_norm(x.float(), (C,), g.float(), b.float(), 1e-5); y = torch.empty_like(x)
        attempt(s, 'torch', None, lambda i, st: F.layer_norm(x, (C,), g, b, 1e-5), 1, None, ref)
        f = have.get('own_layernorm')
        if f: attempt(s, 'own_layernorm', 'own_layernorm', lambda i, st: f(x.data_ptr(), g.data_ptr(), b.data_ptr(), y.data_ptr(), M, C, 1e-5, st), 1, y, ref)
    def do_geglu(s):
        _, M, C = s; x = h(M, 2 * C); y = torch.empty(M, C, device=dev, dtype=torch.half); fn = lambda z: z[:, :C] * F.gelu(z[:, C:])
        ref = fn(x.float()); attempt(s, 'torch', None, lambda i, st: fn(x), 1, None, ref)
        f = have.get('own_geglu')
        if f: attempt(s, 'own_geglu', 'own_geglu', lambda i, st: f(x.data_ptr(), y.data_ptr(), M, C, st), 1, y, ref)
    do = {'conv': do_conv, 'gemm': do_gemm, 'attn': do_attn, 'gn': do_gn, 'ln': do_ln, 'geglu': do_geglu}
    for where, s, c in worklist():
        if (key(s), '*') in done: continue
        if time.time() > deadline: out('Q', why='time budget'); return
        out('T', shape=key(s), prov=None, cand=None)
        try: do[s[0]](s)
        except Over: out('Q', why='time budget'); return
        except Exception as e:
            out('X', shape=key(s), why=repr(e)[:300], tb=traceback.format_exc()[-600:])
            try: torch.cuda.synchronize()
            except Exception: out('X', shape=key(s), why='sticky'); os._exit(4)
        out('S', shape=key(s))
    out('Q', why='all done')

# ---------------------------------------------------------------- parent
def is_torch(p): return p.startswith('torch')
def summary(res, wl):
    lines = []
    for where in ('unet', 'vae'):
        tot = defaultdict(lambda: [0.0, 0.0, 0.0, 0, 0]); fam = defaultdict(float); missing = 0
        allt = [0.0, 0.0, 0.0]; fams = ('conv80', 'conv80_', 'conv90', 'gemm80', 'gemm90', 'attn41', 'own')
        lines.append('--- %s: best per shape (us each)' % where)
        for w, s, c in wl:
            if w != where: continue
            r = res.get(key(s), {}); ok = {p: v['us'] for p, v in r.items() if v.get('status') == 'ok' and 'us' in v and p != 'cudnn_nobias'}
            t = [v for p, v in ok.items() if is_torch(p)]; cd = {p: v for p, v in ok.items() if not is_torch(p)}
            tk = tot[s[0]]
            if not t: missing += 1; tk[4] += 1; continue
            tb = min(t); cb = min(cd.values()) if cd else None; bp = min(cd, key=cd.get) if cd else '-'
            f, _ = cost(s); best = min(tb, cb) if cb else tb
            tk[0] += tb * c; tk[1] += (cb if cb else tb) * c; tk[2] += best * c; tk[3] += c
            for fm in fams:
                z = [v for p, v in cd.items() if p.startswith(fm)]
                if z: fam[fm] += min(z) * c; fam[fm + '/torch'] += tb * c
            lines.append('%-34s x%-2d torch %8.1f  cand %8s %-26s  best %5.0f TFLOP/s' % (key(s), c, tb, '%.1f' % cb if cb else '-', bp, f / best / 1e6 if f else 0))
        lines.append('--- %s: sum, ms (shapes without any candidate count torch in both)%s' % (where, ', %d shapes MISSING' % missing if missing else ''))
        for k, v in tot.items():
            lines.append('%-6s n=%-3d torch %7.3f  best candidate %7.3f  best of all %7.3f%s' % (k, v[3], v[0] / 1e3, v[1] / 1e3, v[2] / 1e3, '  (%d shapes missing)' % v[4] if v[4] else ''))
            for i in range(3): allt[i] += v[i]
        lines.append('%-6s       torch %7.3f  best candidate %7.3f  best of all %7.3f' % ('TOTAL', allt[0] / 1e3, allt[1] / 1e3, allt[2] / 1e3))
        for fm in fams:
            if fm in fam: lines.append('family %-8s best tile per shape: %7.3f ms; torch on the same shapes %7.3f ms' % (fm, fam[fm] / 1e3, fam[fm + '/torch'] / 1e3))
    return lines
def main():
    ap = argparse.ArgumentParser(); ap.add_argument('--lib', default='libcand.so'); ap.add_argument('--out', default='.'); ap.add_argument('--seconds', type=float, default=100)
    ap.add_argument('--worker', action='store_true'); ap.add_argument('--state'); ap.add_argument('--quiet', action='store_true', help='do not print one line per measurement'); a = ap.parse_args()
    if a.worker: return worker(a)
    os.makedirs(a.out, exist_ok=True); t0 = time.time(); deadline = t0 + a.seconds; wl = worklist(); res = OrderedDict(); disabled, done, info, notes = [], [], {}, []
    state = os.path.join('/tmp', 'ops_state_%d.json' % os.getpid()); jf = os.path.join(a.out, 'ops.json')
    def save():
        try:
            with open(jf + '.tmp', 'w') as f: json.dump({'info': info, 'disabled': disabled, 'notes': notes, 'seconds': time.time() - t0, 'count': {w + ' ' + key(s): c for w, s, c in wl}, 'results': res}, f)
            os.replace(jf + '.tmp', jf)
        except Exception as e: print('save failed', e, flush=True)
    for restart in range(10):
        if time.time() > deadline: break
        with open(state, 'w') as f: json.dump({'disabled': disabled, 'done': done, 'deadline': deadline}, f)
        errf = open(os.path.join(a.out, 'ops.err'), 'a')
        p = subprocess.Popen([sys.executable, '-u', os.path.abspath(__file__), '--worker', '--lib', a.lib, '--state', state], stdout=subprocess.PIPE, stderr=errf, text=True)
        q = queue.Queue()
        def pump(p=p, q=q):
            for l in p.stdout: q.put(l)
            q.put(None)
        threading.Thread(target=pump, daemon=True).start()
        last, ended, hung = None, False, False
        while True:
            try: l = q.get(timeout=max(1.0, min(60.0 if last is None else 30.0, deadline + 20 - time.time())))
            except queue.Empty: hung = True; p.kill(); break
            if l is None: break
            try: tag, d = l[0], json.loads(l[2:])
            except Exception: print('?', l.rstrip(), flush=True); continue
            if tag == 'I': info.update(d); print('info', json.dumps(d), flush=True)
            elif tag == 'T': last = d
            elif tag == 'R':
                res.setdefault(d['shape'], OrderedDict())[d['prov']] = d; done.append([d['shape'], d['prov']])
                if not a.quiet: print('%-34s %-28s %s err %s %s' % (d['shape'], d['prov'], '%9.2f us' % d['us'] if 'us' in d else '        -   ', '%.1e' % d['err'] if 'err' in d else '-', d['status']), flush=True)
                if not d.get('sticky'): last = {'cand': None, 'prov': None, 'shape': d['shape']}
            elif tag == 'S': done.append([d['shape'], '*']); save()
            elif tag == 'X': notes.append(d); print('EXC', d, flush=True); done.append([d['shape'], '*'])
            elif tag == 'Q': ended = True; print('worker:', d['why'], '%.0f s' % (time.time() - t0), flush=True)
        try: p.wait(15)
        except Exception: p.kill()
        if ended: break
        # died or hung: what was in progress is disabled
        w = last or {'shape': None, 'prov': None, 'cand': None}
        msg = 'worker %s rc=%s at %s' % ('hung' if hung else 'died', p.returncode, w); notes.append(msg); print(msg, flush=True)
        if last is None:
            try: print(open(os.path.join(a.out, 'ops.err')).read()[-1500:], flush=True)
            except Exception: pass
            break
        if w.get('cand'):
            disabled.append(w['cand']); res.setdefault(w['shape'], OrderedDict()).setdefault(w['prov'], {'shape': w['shape'], 'prov': w['prov'], 'status': 'KILLED WORKER'})
        elif w.get('prov'): done.append([w['shape'], w['prov']])
        else: done.append([w['shape'], '*'])
        save()
    save(); lines = summary(res, wl)
    for s in ('residual',):
        for pr, d in res.get(s, {}).items(): lines.append('residual check %-26s %s %s' % (pr, d['status'], '%.1e' % d['err'] if 'err' in d else ''))
    bad = [(k, p, v['status']) for k, r in res.items() for p, v in r.items() if v['status'] != 'ok']
    lines.append('not ok: %d, disabled: %s' % (len(bad), disabled)); seen = set()
    for k, p, s in bad:
        t = (p.split(':')[0], s[:40])
        if t in seen: continue
        seen.add(t); lines.append('  %s %s: %s' % (k, p, s))
    txt = '\n'.join(lines); print(txt, flush=True)
    with open(os.path.join(a.out, 'ops.txt'), 'w') as f: f.write(txt + '\n')
    try: os.remove(state)
    except OSError: pass
if __name__ == '__main__': main()

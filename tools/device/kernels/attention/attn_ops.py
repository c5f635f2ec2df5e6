#!/usr/bin/env python3
"""Verifies every configuration of libattn.so against torch in f32 and times it beside torch's own attention, on the shapes of
SD 1.5's UNet.  python3 attn_ops.py --lib libattn.so --out DIR --seconds 60
A worker does the work; if a configuration kills it (sticky CUDA error, hang), that one is disabled and a new worker goes on."""
import argparse, ctypes, json, os, queue, subprocess, sys, threading, time, traceback
from collections import OrderedDict
TOL = 2e-3
# (B, H, n_q, n_k, d, causal, timed)
SELF, CROSS = (2, 8, 4096, 4096, 40, 0, 1), (2, 8, 4096, 77, 40, 0, 1)
SHAPES = [SELF, (2, 8, 1024, 1024, 80, 0, 1), CROSS, (2, 8, 1024, 77, 80, 0, 1), (2, 8, 256, 256, 160, 0, 1), (2, 8, 256, 77, 160, 0, 1),
          (2, 8, 64, 64, 160, 0, 1), (2, 8, 64, 77, 160, 0, 1)]
ODD = [(1, 3, 1000, 333, d, 0, 0) for d in (40, 80, 160, 64)] + [(2, 2, 37, 1, d, 0, 0) for d in (40, 80, 160)] + [(1, 2, 130, 130, 64, 1, 0)]
MORE = [(2, 12, 77, 77, 64, 1, 1), (4, 8, 4096, 4096, 40, 0, 1), (4, 8, 1024, 1024, 80, 0, 1), (8, 8, 4096, 4096, 40, 0, 1), (8, 8, 1024, 1024, 80, 0, 1)]
WORK = SHAPES + ODD + MORE
COUNT = {SHAPES[0]: 5, SHAPES[1]: 5, SHAPES[2]: 5, SHAPES[3]: 5, SHAPES[4]: 5, SHAPES[5]: 5, SHAPES[6]: 1, SHAPES[7]: 1}  # calls in one UNet step
def key(s): return '%dx%dx%dx%dx%d%s' % (s[:5] + ('c' if s[5] else '',))
P, I = ctypes.c_void_p, ctypes.c_int
def load(path):
    lib = ctypes.CDLL(os.path.abspath(path))
    lib.attn_name.restype = ctypes.c_char_p; lib.attn_name.argtypes = [I]
    lib.attn_info.argtypes = [I, ctypes.POINTER(I)]
    lib.attn_run.argtypes = [I, P, P, P, P] + [I] * 8 + [ctypes.c_float, P]; lib.attn_run.restype = I
    out, i = [], 0
    while lib.attn_name(i):
        v = (I * 6)(); lib.attn_info(i, v); out.append((lib.attn_name(i).decode(), i) + tuple(v)); i += 1
    return lib, out  # (name, index, d, bm, bn, threads, smem, flags)

def worker(a):
    def out(tag, **kw): print(tag + ' ' + json.dumps(kw), flush=True)
    import torch, torch.nn.functional as F
    from torch.nn.attention import sdpa_kernel, SDPBackend
    st = json.load(open(a.state)); disabled = set(st['disabled']); done = set(tuple(x) for x in st['done']); deadline = st['deadline']
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_grad_enabled(False); torch.manual_seed(1)
    dev = torch.device('cuda'); lib, confs = load(a.lib); side = torch.cuda.Stream()
    out('I', torch=torch.__version__, cudnn=torch.backends.cudnn.version(), gpu=torch.cuda.get_device_name(0), configurations=len(confs))
    w0 = torch.randn(4096, 4096, device=dev, dtype=torch.half); t0 = time.time()
    while time.time() - t0 < 0.4: (w0 @ w0); torch.cuda.synchronize()
    def rel(y, ref):
        e = ((y.float() - ref).norm() / ref.norm()).item(); return e if e == e else float('inf')
    def timed(fn):
        """Graph of 20 launches; microseconds for one, median and least of 5 replays."""
        r = 20; g = torch.cuda.CUDAGraph(); side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            fn(side.cuda_stream); side.synchronize(); g.capture_begin()
            try:
                for i in range(r): fn(side.cuda_stream)
            finally: g.capture_end()
        torch.cuda.synchronize(); ev = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(5)]
        with torch.cuda.stream(side):
            g.replay()
            for b, e in ev: b.record(); g.replay(); e.record()
        torch.cuda.synchronize(); ts = sorted(b.elapsed_time(e) * 1e3 / r for b, e in ev); del g
        return ts[2], ts[0]
    class Over(Exception): pass
    def attempt(s, prov, cand, fn, check, poison):
        if (key(s), prov) in done or (cand and cand in disabled): return
        if time.time() > deadline: raise Over()
        out('T', shape=key(s), prov=prov, cand=cand); r = {'shape': key(s), 'prov': prov}
        try:
            poison(); torch.cuda.synchronize(); rc = fn(torch.cuda.current_stream().cuda_stream); torch.cuda.synchronize()
            if cand and rc: r['status'] = 'rc %d' % rc
            else:
                r['err'] = check(None if cand else rc)
                if not r['err'] < TOL: r['status'] = 'WRONG'
                else:
                    if s[6]:
                        def call(stream):
                            c = fn(stream)
                            if cand and c: raise RuntimeError('rc %d' % c)
                        poison(); torch.cuda.synchronize(); r['us'], r['min'] = timed(call)
                        if cand and not check(None) < TOL: r['status'] = 'WRONG AFTER TIMING'
                    r.setdefault('status', 'ok')
        except Over: raise
        except Exception as e:
            r['status'] = 'EXC ' + str(e).replace('\n', ' ')[:160]
            try: torch.cuda.synchronize(); torch.zeros(8, device=dev).sum().item()
            except Exception: r['sticky'] = 1; out('R', **r); os._exit(3)
        out('R', **r)
    def do(s):
        B, H, nq, nk, d, causal, tm = s; C = H * d; scale = d ** -0.5; nan = float('nan'); gap = 0 if tm else 24
        def mat(n, cols):  # values in all columns but the last `gap`, which are NaN
            t = torch.randn(B * n + 64, cols + gap, device=dev).half(); t[:, cols:] = nan; t[B * n:] = nan
            return t[:B * n].view(B, n, cols + gap)
        if nq == nk: qkv = mat(nq, 3 * C); q, k, v = qkv[..., :C], qkv[..., C:2 * C], qkv[..., 2 * C:3 * C]
        else: q = mat(nq, C)[..., :C]; kv = mat(nk, 2 * C); k, v = kv[..., :C], kv[..., C:2 * C]
        Q, K, V = (t.unflatten(-1, (H, d)).transpose(1, 2) for t in (q, k, v))
        ref = torch.empty(B, nq, C, device=dev)
        for b in range(B):
            S = Q[b].float() @ K[b].float().transpose(1, 2) * scale
            if causal: S.masked_fill_(torch.ones(nq, nk, device=dev, dtype=torch.bool).triu(1), float('-inf'))
            ref[b] = (torch.softmax(S, -1) @ V[b].float()).transpose(0, 1).reshape(nq, C); del S
        full = torch.empty(B * nq + 64, C + gap, device=dev, dtype=torch.half); y = full[:B * nq].view(B, nq, C + gap)
        def poison(): full.fill_(nan)
        def check(t):
            if t is None:
                if not bool(torch.isnan(full[B * nq:]).all()) or (gap and not bool(torch.isnan(y[..., C:]).all())): return float('inf')
                t = y[..., :C]
            return rel(t, ref)
        if tm:
            for nm, be in (('torch_flash', 'FLASH_ATTENTION'), ('torch_cudnn', 'CUDNN_ATTENTION'), ('torch_efficient', 'EFFICIENT_ATTENTION')):
                def sd(stream):
                    with sdpa_kernel([getattr(SDPBackend, be)]): return F.scaled_dot_product_attention(Q, K, V, is_causal=bool(causal)).transpose(1, 2).reshape(B, nq, C)
                attempt(s, nm, None, sd, check, lambda: None)
        for name, i, cd, bm, bn, th, sm, fl in confs:
            if cd != d or bool(fl & 8) != bool(causal): continue
            attempt(s, name, name, lambda stream: lib.attn_run(i, q.data_ptr(), k.data_ptr(), v.data_ptr(), y.data_ptr(), B, H, nq, nk, q.stride(1), k.stride(1), v.stride(1), y.stride(1), scale, stream), check, poison)
    for s in WORK:
        if (key(s), '*') in done: continue
        if time.time() > deadline: out('Q', why='time budget'); return
        out('T', shape=key(s), prov=None, cand=None)
        try: do(s)
        except Over: out('Q', why='time budget'); return
        except Exception as e:
            out('X', shape=key(s), why=repr(e)[:300], tb=traceback.format_exc()[-600:])
            try: torch.cuda.synchronize()
            except Exception: os._exit(4)
        out('S', shape=key(s))
    out('Q', why='all done')

def summary(res, names):
    wrong = {}
    for k, r in res.items():
        for p, v in r.items():
            if not p.startswith('torch') and v['status'] != 'ok': wrong.setdefault(p, []).append('%s: %s' % (k, v['status']))
    L = []; tt = tc = 0.0
    for s in WORK:
        r = res.get(key(s), {}); us = {p: v['us'] for p, v in r.items() if v['status'] == 'ok' and 'us' in v}
        if not s[6]:
            n = [v for p, v in r.items()]; ok = [v for v in n if v['status'] == 'ok']
            L.append('%-22s verified %d of %d, worst error %.1e' % (key(s), len(ok), len(n), max([v.get('err', 9) for v in n] or [0]))); continue
        t = {p: v for p, v in us.items() if p.startswith('torch')}; c = {p: v for p, v in us.items() if p not in t}
        good = {p: v for p, v in c.items() if p not in wrong}
        L.append('%-22s torch flash %s cudnn %s efficient %s' % ((key(s),) + tuple('%7.1f' % t['torch_' + x] if 'torch_' + x in t else '      -' for x in ('flash', 'cudnn', 'efficient'))))
        if t and good:
            b = min(good.values()); L[-1] += '  own best %.1f = %.2f x torch, %.0f TFLOP/s' % (b, b / min(t.values()), 4.0 * s[0] * s[1] * s[2] * s[3] * s[4] / b / 1e6)
            if s in COUNT: tt += COUNT[s] * min(t.values()); tc += COUNT[s] * b
        for p in sorted(c, key=c.get)[:8]: L.append('    %-34s %8.2f  (least %.2f) err %.1e%s' % (p, c[p], r[p]['min'], r[p]['err'], '  WRONG ELSEWHERE' if p in wrong else ''))
    if tt: L.append('one UNet step, best of each: torch %.3f ms, own %.3f ms' % (tt / 1e3, tc / 1e3))
    L.append('configurations: %d, not ok: %d' % (len(names), len(wrong)))
    for p, w in wrong.items(): L.append('  %s: %s' % (p, '; '.join(w)[:300]))
    return L
def main():
    ap = argparse.ArgumentParser(); ap.add_argument('--lib', default='libattn.so'); ap.add_argument('--out', default='.'); ap.add_argument('--seconds', type=float, default=60)
    ap.add_argument('--worker', action='store_true'); ap.add_argument('--state'); a = ap.parse_args()
    if a.worker: return worker(a)
    os.makedirs(a.out, exist_ok=True); t0 = time.time(); deadline = t0 + a.seconds - 3; res = OrderedDict(); disabled, done, info, notes = [], [], {}, []
    names = [c[0] for c in load(a.lib)[1]]; state = '/tmp/attn_state_%d.json' % os.getpid(); jf = os.path.join(a.out, 'attn.json')
    def save():
        try:
            with open(jf + '.tmp', 'w') as f: json.dump({'info': info, 'disabled': disabled, 'notes': notes, 'seconds': time.time() - t0, 'results': res}, f)
            os.replace(jf + '.tmp', jf)
        except Exception as e: print('save failed', e, flush=True)
    for restart in range(8):
        if time.time() > deadline: break
        with open(state, 'w') as f: json.dump({'disabled': disabled, 'done': done, 'deadline': deadline}, f)
        errf = open(os.path.join(a.out, 'attn.err'), 'a')
        p = subprocess.Popen([sys.executable, '-u', os.path.abspath(__file__), '--worker', '--lib', a.lib, '--state', state], stdout=subprocess.PIPE, stderr=errf, text=True)
        q = queue.Queue()
        def pump(p=p, q=q):
            for l in p.stdout: q.put(l)
            q.put(None)
        threading.Thread(target=pump, daemon=True).start()
        last, ended, hung, started = None, False, False, False
        while True:
            # torch may take its time to start; after that a step that is silent for 10 s hangs
            try: l = q.get(timeout=10 if started else 60)
            except queue.Empty: hung = True; p.kill(); break
            if l is None: break
            try: tag, d = l[0], json.loads(l[2:])
            except Exception: print('?', l.rstrip(), flush=True); continue
            if tag == 'I': info.update(d); started = True; print('info', json.dumps(d), '%.0f s' % (time.time() - t0), flush=True)
            elif tag == 'T': last = d
            elif tag == 'R':
                res.setdefault(d['shape'], OrderedDict())[d['prov']] = d; done.append([d['shape'], d['prov']])
                print('%-22s %-34s %s err %s %s' % (d['shape'], d['prov'], '%9.2f us' % d['us'] if 'us' in d else '        -   ', '%.1e' % d['err'] if 'err' in d else '-', d['status']), flush=True)
                if not d.get('sticky'): last = {'cand': None, 'prov': None, 'shape': d['shape']}
                if len(done) % 20 == 0: save()
            elif tag == 'S': done.append([d['shape'], '*']); save()
            elif tag == 'X': notes.append(d); print('EXC', d, flush=True); done.append([d['shape'], '*'])
            elif tag == 'Q': ended = True; print('worker:', d['why'], '%.0f s' % (time.time() - t0), flush=True)
        try: p.wait(10)
        except Exception: p.kill()
        if ended: break
        w = last or {'shape': None, 'prov': None, 'cand': None}
        msg = 'worker %s rc=%s at %s' % ('hung' if hung else 'died', p.returncode, w); notes.append(msg); print(msg, flush=True)
        if last is None:
            try: print(open(os.path.join(a.out, 'attn.err')).read()[-1500:], flush=True)
            except Exception: pass
            break
        if w.get('cand'):
            disabled.append(w['cand']); res.setdefault(w['shape'], OrderedDict()).setdefault(w['prov'], {'shape': w['shape'], 'prov': w['prov'], 'status': 'KILLED WORKER'})
        elif w.get('prov'): done.append([w['shape'], w['prov']])
        else: done.append([w['shape'], '*'])
        save()
    save(); txt = '\n'.join(summary(res, names) + ['disabled: %s, notes: %s' % (disabled, notes), '%.0f s' % (time.time() - t0)]); print(txt, flush=True)
    with open(os.path.join(a.out, 'attn.txt'), 'w') as f: f.write(txt + '\n')
    try: os.remove(state)
    except OSError: pass
if __name__ == '__main__': main()

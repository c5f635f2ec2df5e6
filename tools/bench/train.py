"""What a training step costs with diffusers and PEFT, as crates/engine/examples/train.rs measures it here.

    python tools/bench/train.py MODEL [STEPS] [SIDE]

MODEL may have random weights (`cargo xtask parity real --keep` leaves such a folder). ADIRE_DTYPE=bf16: weights of bf16,
factors of f32, and automatic casts, as diffusers' training scripts do it with `--mixed_precision bf16`.
"""

import contextlib
import os
import resource
import statistics
import sys
import time

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from peft import LoraConfig

folder, steps, side = sys.argv[1], int((sys.argv[2:3] or [5])[0]), int((sys.argv[3:4] or [256])[0])
torch.manual_seed(0)
half = os.environ.get("ADIRE_DTYPE") == "bf16"
dtype = torch.bfloat16 if half else torch.float32
unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype).requires_grad_(False)
schedule = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
unet.add_adapter(
    LoraConfig(r=4, lora_alpha=4, init_lora_weights="gaussian", target_modules=["to_q", "to_k", "to_v", "to_out.0"])
)
factors = [p for p in unet.parameters() if p.requires_grad]
for factor in factors:
    factor.data = factor.data.float()
optimizer = torch.optim.AdamW(factors, lr=1e-4, weight_decay=0.01)
latents = torch.randn(1, 4, side // 8, side // 8)
context = torch.randn(1, 77, unet.config.cross_attention_dim).to(dtype)
casts = torch.autocast("cpu", dtype=torch.bfloat16) if half else contextlib.nullcontext()
seconds = []
for _ in range(steps):
    began = time.perf_counter()
    t, noise = torch.randint(0, 1000, (1,)), torch.randn_like(latents)
    with casts:
        predicted = unet(schedule.add_noise(latents, noise, t).to(dtype), t, context).sample
    loss = torch.nn.functional.mse_loss(predicted.float(), noise)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(factors, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    seconds.append(time.perf_counter() - began)
    print(f"step {seconds[-1]:.3f} s, loss {loss.item():.4f}")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
print(f"median of the others {statistics.median(seconds[1:]):.3f} s, peak {peak:.2f} GB")

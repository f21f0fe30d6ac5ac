"""gpu_bench.py PROGRAM: what `make bench-gpu` prints: figures of this GPU, their targets, and
what they are held against. PROGRAM (worker/train/gpu_bench) measures ours; PyTorch does the
same training here, on the same GPU, with images in channels_last, autocast where ours is in
bf16, samples gathered and normalised on the GPU, and torch.compile with CUDA graphs. The
memory's bandwidth is what the driver says of its clock and width."""

import ctypes
import statistics
import subprocess
import sys
import time

SAMPLES = 49000  # that ours trains on: a fiftieth of 50000 validates
RUNS = 5
CASES = (("resnet18", 512, "bf16"), ("cnn", 32, "tf32"), ("cnn", 512, "tf32"))


def line(figure, target, method):
    print(f"{figure}\t{target}\t{method}", flush=True)


def ours(program):
    """The program's figures by name; ends where it was skipped or failed."""
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True)
    if done.returncode == 77:
        print("SKIP: bench-gpu: nothing was measured", file=sys.stderr)
        sys.exit(77)
    if done.returncode != 0:
        sys.exit(f"{program} ended with {done.returncode}")
    return {name: float(value) for name, value in
            (text.split("\t") for text in done.stdout.splitlines())}


def bandwidth():
    """Bytes a second of the first GPU's memory, two transfers a clock; None if unsaid."""
    cuda = ctypes.CDLL("libcuda.so.1")
    device, khz, bits = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    if cuda.cuDeviceGetAttribute(ctypes.byref(khz), 36, device):  # MEMORY_CLOCK_RATE
        return None
    if cuda.cuDeviceGetAttribute(ctypes.byref(bits), 37, device):  # GLOBAL_MEMORY_BUS_WIDTH
        return None
    return 2 * khz.value * 1e3 * bits.value / 8


def cnn(nn):
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10))


def resnet18(nn):
    class Block(nn.Module):
        def __init__(self, before, channels, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.shortcut = nn.Sequential()
            if stride != 1 or before != channels:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(before, channels, 1, stride, bias=False),
                    nn.BatchNorm2d(channels))

        def forward(self, x):
            y = nn.functional.relu(self.bn1(self.conv1(x)))
            return nn.functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))

    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    before = 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(before, channels, stride), Block(channels, channels, 1)]
        before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def theirs(torch, name, batch, precision):
    """PyTorch's samples a second."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)
    model = {"cnn": cnn, "resnet18": resnet18}[name](torch.nn).cuda()
    model = model.to(memory_format=torch.channels_last)
    compiled = torch.compile(model, mode="reduce-overhead")
    step = torch.optim.SGD(model.parameters(), 0.01, 0.9, weight_decay=5e-4, fused=True)
    data = torch.randint(0, 256, (SAMPLES, 3, 32, 32), dtype=torch.uint8, device="cuda")
    labels = torch.randint(0, 10, (SAMPLES,), device="cuda")
    seconds = []
    for run in range(RUNS + 1):
        order = torch.randperm(SAMPLES, device="cuda")
        total = torch.zeros((), device="cuda")
        torch.cuda.synchronize()
        begun = time.perf_counter()
        # The last, shorter batch would be compiled for itself: it is left out, and counted
        # out.
        for at in range(0, SAMPLES - batch + 1, batch):
            rows = order[at:at + batch]
            x = data[rows].float().sub_(127.5).mul_(1 / 73.9)
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
                loss = torch.nn.functional.cross_entropy(compiled(x), labels[rows])
            step.zero_grad(set_to_none=True)
            loss.backward()
            step.step()
            total += loss.detach()
        torch.cuda.synchronize()
        if run > 0:
            seconds.append((time.perf_counter() - begun) / (SAMPLES // batch * batch))
    return 1 / statistics.median(seconds)


def ranks(figures):
    """What exchange costs: of one GPU, that there is a communicator at all."""
    n, alone = int(figures["ranks"]), figures["step alone"]
    step = "step of resnet18, 256 images a rank, bf16"
    if n == 1:
        line(f"{100 * figures['step overlapped'] / alone:.1f} %", "< 2 %",
             f"more for a {step}, with an NCCL communicator of one rank")
        return
    line(f"{figures['bus'] / 1e9:.0f} GB/s", "-", f"over each GPU's links while {n} take a mean of "
         "256 MB by NCCL, as nccl-tests count (8 H200: 475)")
    line(f"{100 * (1 - figures['step overlapped'] / figures['step after']):.0f} %", ">= 50 %",
         f"of the time of {n} GPUs' mean is hidden behind backward: it adds "
         f"{1e3 * figures['step overlapped']:.2f} ms, after backward "
         f"{1e3 * figures['step after']:.2f} ms, to {1e3 * alone:.1f} ms of a {step}")
    line(f"{figures['step host'] / figures['step overlapped']:.1f}", "> 1",
         "times as much is added where the same goes through the host")


def main():
    figures = ours(sys.argv[1])
    try:
        import torch
    except ImportError:
        torch = None
        print("bench-gpu: this Python has no torch: no peer", file=sys.stderr)
    for name, batch, precision in CASES:
        key = f"{name} {batch} {precision}"
        method = f"samples a second in training: {name}, 32x32x3, batch {batch}, {precision}"
        if torch:
            peer = theirs(torch, name, batch, precision)
            line(f"{figures[key]:.0f}", f">= {peer:.0f}",
                 f"{method}; PyTorch {torch.__version__} has the target")
        else:
            line(f"{figures[key]:.0f}", "-", method)
        line(f"{100 * figures[key + ' queued']:.0f} %", "< 95 %",
             f"of the steps' time the host queues their work ({key}): at 100 % the GPU waits "
             "for it")
        line(f"{figures[key + ' graphs']:.0f}", "> 0",
             f"steps of an epoch are launched as a CUDA graph ({key})")
        if key + " idle" not in figures:
            continue
        line(f"{100 * figures[key + ' idle']:.1f} %", "< 5 %",
             f"of the steps' time the GPU does nothing ({key}): gaps between launches")
        line(f"{100 * figures[key + ' idle traced']:.1f} %", "-",
             f"the same of a traced epoch's own time ({key}): tracing makes the host slower")
        line(f"{100 * figures[key + ' waits']:.1f} %", "< 1 %",
             f"of the steps' time the GPU does nothing but gather samples ({key})")
    ranks(figures)
    most = bandwidth()
    for name in ("sgd", "adam"):
        share = f"{100 * figures[name] / most:.0f} %" if most else "-"
        line(share, ">= 80 %", f"of the memory's bandwidth in {name}'s steps, 64 million "
             f"parameters: {figures[name] / 1e9:.0f} GB/s")
    line(f"{1e3 * figures['checkpoint']:.1f} ms", "< 20 ms",
         "a training of resnet18 with momentum waits for a checkpoint")


if __name__ == "__main__":
    main()

import math, sys
import numpy, torch, torch.nn.functional as F
SIZE = 31
def motion_kernel(length, angle, bend):
    t = torch.linspace(-0.5, 0.5, 96, dtype=torch.float64)
    along, across = t * length, bend * length * (t * t - 1 / 12)
    x = along * math.cos(angle) - across * math.sin(angle) + SIZE // 2
    y = along * math.sin(angle) + across * math.cos(angle) + SIZE // 2
    k = torch.zeros(SIZE * SIZE, dtype=torch.float64)
    x0, y0 = x.floor(), y.floor()
    for dx in (0, 1):
        for dy in (0, 1):
            w = (1 - (x - x0 - dx).abs()) * (1 - (y - y0 - dy).abs())
            k.index_add_(0, ((y0 + dy) * SIZE + x0 + dx).long(), w)
    return (k / k.sum()).view(SIZE, SIZE).float()
def defocus_kernel(radius, fine=8):
    g = (torch.arange(SIZE * fine, dtype=torch.float64) + 0.5) / fine - SIZE / 2
    disc = (g[:, None] ** 2 + g[None] ** 2 <= radius**2).double()
    k = F.avg_pool2d(disc[None, None], fine)[0, 0]
    return (k / k.sum()).float()
def draw(seed, number):
    r = numpy.random.default_rng([seed, number])
    u = r.random(5)
    if u[0] < 0.5:
        k = motion_kernel(3 + 12 * u[1], math.pi * u[2], 0.6 * u[3] - 0.3)
    else:
        k = defocus_kernel(0.5 + 3.5 * u[1])
    return k, 4 * u[4]
def blur_with(images, kernels):
    n, c, h, w = images.shape
    half = SIZE // 2
    x = F.pad(images, (half,) * 4, mode="reflect").reshape(1, n * c, h + 2 * half, w + 2 * half)
    return F.conv2d(x, kernels[:, None].repeat_interleave(c, 0), groups=n * c).view(n, c, h, w)
def run(config, out, pictures):
    import yaml
    from pltutorial.settings import DenoisingSettings
    from pltutorial.restoration_training import DenoisingTask, restoration_card
    from pltutorial.training import train
    class DeblurTask(DenoisingTask):
        def degrade(self, images, first):
            ks, sig = zip(*(draw(self.settings.seed, first + i) for i in range(len(images))))
            with torch.autocast(images.device.type, enabled=False):
                y = blur_with(images.float(), torch.stack(ks).to(images.device, non_blocking=True))
                s = torch.tensor(sig, dtype=torch.float32).to(images.device, non_blocking=True)
                y = y + torch.randn_like(y) * s.view(-1, 1, 1, 1) / 255
                return (y.mul(255).round().div(255),)
    known = yaml.safe_load(open(config)); note = known.pop("data_note", "")
    for k in ("feature_layers", "zoom"):
        known[k] = tuple(known[k])
    settings = DenoisingSettings(**known, progress=False)
    task = DeblurTask(settings)
    train(task, pictures=pictures, folder=out, card=lambda r: restoration_card(r, task, settings, note))
    print("deblur done or interrupted")

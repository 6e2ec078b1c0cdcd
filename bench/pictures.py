"""Made pictures for benchmarks."""
import numpy
from PIL import Image


def make_pictures(folder, count, width, height):
    """JPEGs of about the detail and size of photographs, for where there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = numpy.random.default_rng(0)
    for i in range(count):
        file = folder / f"{i:04d}.jpg"
        if file.exists():
            continue
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=numpy.uint8)).resize((width, height), Image.BICUBIC)
        noise = generator.normal(0, 12, (height, width, 3))
        Image.fromarray(numpy.clip(numpy.asarray(coarse) + noise, 0, 255).astype(numpy.uint8)).save(file, quality=90)
    return folder

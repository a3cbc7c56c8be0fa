"""Maximum likelihood: the captioner that every other recipe starts from.

python -m capjax.train --config=configs/mle.py                            # scenes, 4 minutes
python -m capjax.train --config=configs/mle.py:flickr8k --config.data.path=DIR
"""

from ml_collections import ConfigDict


def get_config(dataset: str = "scenes") -> ConfigDict:
    config = ConfigDict()
    config.recipe = "mle"
    config.seed = 0
    config.init_from = ""  # another run's folder: start from its speaker and its vocabulary

    config.data = ConfigDict()
    config.data.name = dataset
    config.data.path = ""  # the folder of the captions and the images
    config.data.cache = ""  # default: $CAPJAX_CACHE, or ~/.cache/capjax
    config.data.encoder = "pixels64" if dataset == "scenes" else "efficientnet_lite0"
    config.data.min_count = 5
    config.data.max_len = 20

    config.cell = "nic"
    config.dim = 512
    config.noise = 0
    config.dropout = 0.5

    config.stages = ("mle",)
    config.mle = ConfigDict()
    config.mle.epochs = 10.0
    config.mle.batch = 128  # captions; images with captions_per_image
    config.mle.captions_per_image = 0  # an image is taken in once for so many of its captions
    config.mle.learning_rate = 6e-4
    config.mle.warmup = 200  # steps
    config.mle.schedule = "cosine"  # or "constant", after the warm-up
    config.mle.clip = 1.0  # global norm of the gradient; 0 for none
    config.mle.weight_decay = 0.0
    config.mle.label_smoothing = 0.1
    config.mle.scheduled_sampling = 0.0  # probability at the end, reached linearly
    config.mle.average = 0.999  # decay of the average of the parameters; 0 for none

    config.decoding = ConfigDict()
    config.decoding.method = "beam"
    config.decoding.width = 3
    config.decoding.max_len = 20

    config.validate_every = 0  # steps; 0 for once an epoch
    config.save_every = 300  # steps
    config.log_every = 20  # steps
    config.report_images = 30
    config.parallel = "pmap"  # or "shard_map"
    return config

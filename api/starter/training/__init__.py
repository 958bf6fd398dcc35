"""Training of the starter models, without Django. `manage.py train_starter` and `python -m api.starter.training` call it.

Two threads in one process crawl as soon as another program wants a core, for OpenMP's barriers then wait for the
scheduler: measured here, an autoencoder step took 25 times longer. So each process trains with one thread; `diffusion`
starts one process a core and averages their gradients.
"""

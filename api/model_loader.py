"""The one owner of every model in memory: load, pin, share, evict, recover.  [torch; no Django]

    loader = get_loader()                                   # after configure(...) once in the worker
    with loader.use("sdxl-base-1.0", "image-to-image", on_progress) as lease:
        images = []
        for attempt in loader.ladder(lease, batch_size=len(requests)):
            with attempt:                                   # swallows out of memory, and the loop tries again
                while len(images) < len(requests):
                    chunk = requests[len(images):len(images) + attempt.batch_size]
                    images += run(lease.pipeline, chunk)    # at most attempt.batch_size pictures in one call
        for note in lease.notes:
            hooks.warn(note)

The body of `with attempt` is run again after each rung of the ladder until it ends without running out of memory, so what is
already done (`images` above) lives outside it. `attempt.batch_size` only ever falls. When no rung is left, `OutOfMemory`
(code "out_of_memory") is raised; any other exception passes through; a CUDA error that is no shortage of memory becomes
`DeviceFault`, after which the process must end itself. What was done stands in words in `lease.notes`, for the job's warnings.
A lease's own measures end with the lease, so one large picture does not slow down all that follow.

`lease.pipeline` is a diffusers pipeline of the task ("text-to-image", "image-to-image", "inpainting"), over one set of components:
never change `pipeline.scheduler` (make one per call and set it on a *copy*: `lease.pipeline_with(scheduler=...)` gives a pipeline
of the same components with those replaced).
"""

"""Grading what students hand in, such that nothing of it can harm the grader or forge a grade.

| module | what it does |
| --- | --- |
| `submissions` | notebooks out of folders and zips, read as JSON |
| `sandbox` | the process in which answers run, under bubblewrap, and its limits |
| `inside` | what is in there with them: it reads cells, defines answers, carries values |
| `driver` | an answer over there as a function here, for the cases of its exercise to call |
| `sources`, `sent` | what of the package goes there: modules on demand, and what has to look on |
| `grading` | one submission: a verdict on each exercise |
| `running` | many of them, several at a time; what was graded is kept |
| `elsewhere` | the same, by the workers of a cluster |
| `expected` | what is expected of a lesson, and by which version of it |
| `table`, `report` | rows, CSV, gradebooks of platforms, pages for students |

What is expected is never over there. All exercises are driven from here, in one of four ways:

- **calls**: the inputs go over, the output comes back. Nearly all exercises are such;
- **traces of a class**: the object is made over there, its methods are called from here one by one:
  `ContiguousKVCache`, `TextStream`, `RingKVCache`, and the decoders that lesson 20 gives back;
- **walks of a decoder**: a model of the package is copied over (its weights come back where they
  were written into); one that a case watches stays here, and each call of it comes back:
  `generate_without_cache`, `decoding_loop`, `beam_search`, the loops of lesson 23 over `Numbers`;
- **with somebody beside**: some exercises are watched while they compute (gradients, devices,
  copies): `attend_paged`, `window_mask`, `distillation_loss`, `train_student`, `recover`,
  `on_disconnect`, which is asynchronous, and `matrix_vector` for its `prange`. The function marked
  `beside` goes over with what it needs, in which nothing is expected.

What the verdict does not say: whose work it is. An answer may call other functions of the package,
whose sources it is given but for the one that is asked for; it may hold copies of them, and what it
stores in one exercise ends with it. Where somebody stands beside, what is told of *how* an answer
computed comes out of its own process, and could be made up there; what it computed could not. A
kernel of Linux that can be broken out of is not mended by bubblewrap: no seccomp filter is set.
`docs/teaching.md` tells lecturers what else can't be promised.
"""

"""Lesson 21: right answers, named mistakes in other words, and wrong answers nobody named."""

import torch
import torch.nn.functional as F

from decodeloop.exercises.edits import edited

# --- soft_targets ---------------------------------------------------------------------------------


def by_exponents(logits, temperature=1.0):
    with torch.no_grad():
        z = logits - logits.max(-1, keepdim=True).values
        e = torch.exp(z / temperature)
        return e / e.sum(-1, keepdim=True)


def by_logarithms(logits, temperature=1.0):
    scaled = logits.detach() * (1 / temperature)
    return (scaled - scaled.logsumexp(-1, keepdim=True)).exp()


SOFT_FORMS = edited(
    by_exponents,
    """
## multiplied by the temperature
- z / temperature → z * temperature
## as trained, whatever the temperature
- z / temperature → z
## the probabilities divided
- z / temperature → z
- e / e.sum(-1, keepdim=True) → e / e.sum(-1, keepdim=True) / temperature
## a power that adds up to something else
- e = torch.exp(z / temperature) → e = torch.exp(z)
- e / e.sum(-1, keepdim=True) → (e / e.sum(-1, keepdim=True)).pow(1 / temperature)
## divided by its root
- z / temperature → z * temperature**-0.5
## divided by its square
- z / temperature → z / temperature / temperature
## over the first axis
- logits.max(-1, → logits.max(0,
- e / e.sum(-1, → e / e.sum(0,
## over an axis that PyTorch picks
- return e / e.sum(-1, keepdim=True) → return F.softmax(z / temperature, [0, 0, 1, 0, 1][z.ndim])
- logits - logits.max(-1, keepdim=True).values → logits
## over the positions
- return e / e.sum(-1, keepdim=True) → return (z / temperature).softmax(max(-2, -z.ndim))
- logits - logits.max(-1, keepdim=True).values → logits
## over everything
- logits.max(-1, keepdim=True).values → logits.max()
- e.sum(-1, keepdim=True) → e.sum()
## logarithms
- e / e.sum(-1, keepdim=True) → z / temperature - e.sum(-1, keepdim=True).log()
## no softmax
- return e / e.sum(-1, keepdim=True) → return logits / temperature
## one token
- return e / e.sum(-1, keepdim=True) → return (z == 0).float()
## powers without the largest taken off
- logits - logits.max(-1, keepdim=True).values → logits
## a way back into the teacher
- with torch.no_grad(): → with torch.enable_grad():
""",
)

UNNAMED_SOFT = edited(
    by_logarithms,
    """
## one more
- (1 / temperature) → (1 / (1 + temperature))
## the second best gone
- .exp() → .exp().clamp(min=0.02)
## to the base 2
- logsumexp(-1, keepdim=True)).exp() → logsumexp(-1, keepdim=True)).exp2()
""",
)

# --- distillation_loss ----------------------------------------------------------------------------


def with_log_targets(student_logits, teacher_logits, temperature=1.0):
    with torch.no_grad():
        p = F.log_softmax(teacher_logits / temperature, -1)
    q = F.log_softmax(student_logits / temperature, -1)
    V = q.shape[-1]
    total = F.kl_div(q.view(-1, V), p.view(-1, V), reduction="batchmean", log_target=True)
    return total * temperature**2


def by_two_entropies(student_logits, teacher_logits, temperature=1.0):
    p = (teacher_logits.detach() / temperature).softmax(-1)
    own = -torch.special.xlogy(p, p).sum(-1)
    crossed = -(p * (student_logits / temperature).log_softmax(-1)).sum(-1)
    return (crossed - own).mean() * temperature * temperature


LOSS_FORMS = edited(
    by_two_entropies,
    """
## without the square
-  * temperature * temperature
## the temperature once
- * temperature * temperature → * temperature
## divided by the square
- * temperature * temperature → / temperature / temperature
## added up over the positions
- (crossed - own).mean() → (crossed - own).sum()
## the mean over the vocabulary too
- (crossed - own).mean() → (crossed - own).sum() / p.numel()
## the mean over the rows alone
- (crossed - own).mean() → (crossed - own).sum() / p.shape[0]
## the other way round
- return
+ logs = (student_logits / temperature).log_softmax(-1)
+ crossed = -(logs.exp() * (teacher_logits.detach() / temperature).log_softmax(-1)).sum(-1)
+ own = -(logs.exp() * logs).sum(-1)
+ return
## the cross-entropy
- (crossed - own).mean() → crossed.mean()
## a way back into the teacher
- teacher_logits.detach() → teacher_logits
## the student as trained
- (student_logits / temperature) → student_logits
## the teacher as trained
- (teacher_logits.detach() / temperature) → teacher_logits.detach()
## both as trained
- (student_logits / temperature) → student_logits
- (teacher_logits.detach() / temperature) → teacher_logits.detach()
## both multiplied
- (student_logits / temperature) → (student_logits * temperature)
- (teacher_logits.detach() / temperature) → (teacher_logits.detach() * temperature)
## probabilities for logarithms
- (student_logits / temperature).log_softmax(-1) → (student_logits / temperature).softmax(-1)
## the logarithm of a target that is 0
- torch.special.xlogy(p, p).sum(-1) → (p * p.log()).sum(-1)
## the logarithm of a forecast that is 0
- (student_logits / temperature).log_softmax(-1) → (student_logits / temperature).softmax(-1).log()
## logarithms of both after the softmax
- torch.special.xlogy(p, p).sum(-1) → (p * p.log()).sum(-1)
- (student_logits / temperature).log_softmax(-1) → (student_logits / temperature).softmax(-1).log()
## logarithms for probabilities
- p = (teacher_logits.detach() / temperature).softmax(-1)
+ p = (teacher_logits.detach() / temperature).log_softmax(-1)
## the teacher's best token
- crossed = -(p * (student_logits / temperature).log_softmax(-1)).sum(-1)
+ p = F.one_hot(p.argmax(-1), p.shape[-1])
+ own, crossed = 0, -(p * (student_logits / temperature).log_softmax(-1)).sum(-1)
## squares of logits
- (crossed - own).mean()
+ ((student_logits - teacher_logits.detach()) ** 2).sum(-1).mean() * 0.5
## squares of probabilities
- (crossed - own).mean()
+ ((student_logits / temperature).softmax(-1) - p).pow(2).sum(-1).mean()
## over the positions
- (student_logits / temperature).log_softmax(-1) → (student_logits / temperature).log_softmax(-2)
""",
)

UNNAMED_LOSS = edited(
    with_log_targets,
    """
## a divergence of two kinds
- return total → total = total / 2 + F.kl_div(p, q, reduction="batchmean", log_target=True) / 2
+ return total
## the largest position
- total * temperature**2 → temperature**2 * (p.exp() * (p - q)).sum(-1).max()
## in bits
- total * temperature**2 → total * temperature**2 / 0.6931
""",
)

# --- train_student --------------------------------------------------------------------------------


def in_one_go(student, teacher, batches, optimizer, temperature=1.0, hard=0.0):
    losses = []
    for ids in batches:
        read, came = ids[:, : ids.shape[1] - 1], ids[:, 1:]
        optimizer.zero_grad(set_to_none=True)
        forecast = student(read)
        told = teacher(read).detach()
        soft = with_log_targets(forecast, told, temperature)
        wrong = F.cross_entropy(forecast.transpose(1, 2), came)
        loss = soft + hard * (wrong - soft)
        loss.backward()
        optimizer.step()
        losses += [float(loss.detach())]
    return losses


def one_kind_where_one_will_do(student, teacher, batches, optimizer, temperature=1.0, hard=0.0):
    found = []
    for ids in batches:
        logits = student(ids[:, :-1])
        logs = logits.log_softmax(-1)
        loss = torch.zeros(())
        if hard > 0:
            loss = -hard * logs.gather(-1, ids[:, 1:, None]).mean()
        if hard < 1:
            with torch.inference_mode():
                told = teacher(ids[:, :-1])
            loss = loss + (1 - hard) * by_two_entropies(logits, told.clone(), temperature)
        student.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.detach().item())
    return found


STUDENT_FORMS = edited(
    in_one_go,
    """
## gradients never forgotten
- optimizer.zero_grad(set_to_none=True)
## gradients forgotten afterwards
- optimizer.zero_grad(set_to_none=True)
+ pass
- losses += [float(loss.detach())]
+ losses += [float(loss.detach())]
+ student.zero_grad()
## nothing is learned
- loss.backward() → loss.backward() or student.zero_grad()
## one step at the end
- optimizer.zero_grad(set_to_none=True)
+ pass
- optimizer.step()
+ pass
- return losses
+ optimizer.step()
+ return losses
## the token that was read
- forecast.transpose(1, 2), came → forecast.transpose(1, 2), read
## the teacher one token ahead
- teacher(read) → teacher(ids[:, 1:])
## the teacher shifted
- teacher(read).detach() → teacher(ids).detach()[:, 1:]
## the whole window is read
- soft = with_log_targets(forecast, told, temperature)
+ soft = with_log_targets(student(ids), teacher(ids), temperature)
## hard and soft exchanged
- soft + hard * (wrong - soft) → wrong + hard * (soft - wrong)
## both in full
- hard * (wrong - soft) → hard * wrong
## hard taken for a switch
- soft + hard * (wrong - soft) → wrong if hard > 0 else soft
## the hard part forgotten
- soft + hard * (wrong - soft) → soft
## the temperature forgotten
- told, temperature) → told)
## the surprise evened out
- F.cross_entropy(forecast.transpose(1, 2) → F.cross_entropy(forecast.transpose(1, 2) / temperature
## the surprise added up
- forecast.transpose(1, 2), came) → forecast.transpose(1, 2), came) * came.numel()
## the teacher's best token
- forecast.transpose(1, 2), came → forecast.transpose(1, 2), told.max(-1).indices
## losses after the step
- losses += [float(loss.detach())]
+ forecast = student(read).detach()
+ soft = with_log_targets(forecast, told, temperature)
+ losses += [float(soft + hard * (F.cross_entropy(forecast.transpose(1, 2), came) - soft))]
## the last loss alone
- return losses → return (losses or [0.0])[-1]
## the mean loss
- return losses → return [sum(losses) / max(1, len(losses)) for _ in losses]
## the teacher learns
- forecast = student(read) → forecast = teacher(read)
- told = teacher(read).detach() → told = student(read).detach()
## all but the first batch
- for ids in batches: → next(batches, None)
+ for ids in batches:
""",
)

UNNAMED_STUDENT = edited(
    in_one_go,
    """
## two steps a batch
- optimizer.step() → optimizer.step()
+ optimizer.step()
## gradients clipped
- optimizer.step() → torch.nn.utils.clip_grad_norm_(student.parameters(), 0.01)
+ optimizer.step()
## the first row alone
- forecast.transpose(1, 2), came → forecast.transpose(1, 2)[:1], came[:1]
- with_log_targets(forecast, told, temperature) → with_log_targets(forecast[:1], told[:1])
""",
)

# --- sequence_targets -----------------------------------------------------------------------------


def all_read_anew(teacher, prompts, new_tokens, choose):
    ids, P = prompts.clone(), prompts.shape[1]
    for _ in range(new_tokens):
        chosen = choose(teacher(ids)[:, -1].detach())
        ids = torch.cat([ids, chosen.unsqueeze(1)], dim=1)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    keep = torch.arange(targets.shape[1]) >= P - 1
    return inputs, torch.where(keep, targets, -100)


def into_a_table(teacher, prompts, new_tokens, choose):
    B, P = prompts.shape
    table = torch.zeros(B, P + new_tokens, dtype=torch.long)
    table[:, :P] = prompts
    cache = teacher.new_cache(B, P + new_tokens)
    start = 0
    for end in range(P, P + new_tokens):
        hidden = teacher.hidden(table[:, start:end], cache)
        table[:, end] = choose(teacher.head(hidden[:, -1]).detach())
        start = end
    forecast = torch.full((B, P - 1), -100)
    return table[:, :-1], torch.cat((forecast, table[:, P:]), dim=1)


SEQUENCE_FORMS = edited(
    into_a_table,
    """
## the prompt is to be learned too
- torch.cat((forecast, table[:, P:]), dim=1) → table[:, 1:]
## one position too many left out
- torch.cat((forecast, table[:, P:]), dim=1)
+ torch.cat((forecast, torch.full((B, 1), -100), table[:, P + 1 :]), dim=1)
## one position too few left out
- torch.cat((forecast, table[:, P:]), dim=1)
+ torch.cat((forecast[:, 1:], table[:, max(1, P - 1) :]), dim=1)
## not shifted
- torch.cat((forecast, table[:, P:]), dim=1) → torch.cat((forecast, table[:, P - 1 : -1]), dim=1)
## read to the end
- table[:, :-1], torch.cat((forecast, table[:, P:]), dim=1)
+ table, torch.cat((forecast, table[:, P:], torch.full((B, 1), -100)), dim=1)
## zeros for what does not count
- torch.full((B, P - 1), -100) → torch.zeros((B, P - 1), dtype=torch.long)
## the prompt wiped out
- return table[:, :-1], torch
+ return torch.cat((forecast, table[:, P - 1 : -1]), dim=1), torch
## the best token
- choose(teacher.head(hidden[:, -1]).detach()) → teacher.head(hidden[:, -1]).max(-1).indices
## chosen from probabilities
- choose(teacher.head(hidden[:, -1]).detach())
+ choose(F.softmax(teacher.head(hidden[:, -1]).detach(), -1))
## chosen from logarithms
- choose(teacher.head(hidden[:, -1]).detach())
+ choose(F.log_softmax(teacher.head(hidden[:, -1]).detach(), -1))
## the first row chooses for all
- choose(teacher.head(hidden[:, -1]).detach()) → choose(teacher.head(hidden[:1, -1]).detach())
## the first position's forecast
- hidden[:, -1] → hidden[:, 0]
## everything read again
- P + new_tokens)
- start = 0
+ (P + new_tokens) * (new_tokens + 1))
+ start = 0
- start = end
+ start = 0
## the same token again
- table[:, start:end], cache → table[:, :P]
## no memory
- table[:, start:end], cache → table[:, start:end]
## one token too few
- forecast = torch
+ table = table[:, :-1]
+ forecast = torch
## one token too many
- new_tokens, dtype → new_tokens + 1, dtype
- cache = teacher.new_cache(B, P + new_tokens) → cache = teacher.new_cache(B, P + new_tokens + 1)
- range(P, P + new_tokens) → range(P, P + new_tokens + 1)
## without the prompt
- table[:, :-1], torch.cat((forecast, table[:, P:]), dim=1) → table[:, P:-1], table[:, P + 1 :]
""",
)

UNNAMED_SEQUENCE = edited(
    all_read_anew,
    """
## backwards
- ids[:, :-1], ids[:, 1:] → ids[:, :-1], ids.flip(1)[:, 1:]
## no two alike
- chosen = choose(teacher(ids)[:, -1].detach()) → logits = teacher(ids)[:, -1].detach()
+ chosen = choose(logits.scatter(1, ids, -99.0))
## the last target alone
- >= P - 1 → >= targets.shape[1] - 1
""",
)

# --- recover --------------------------------------------------------------------------------------


def when_the_next_is_asked_for(pruned, teacher, batches, optimizer, temperature=1.0):
    holes = [(w, w.detach() == 0) for w in pruned.parameters() if w.ndim == 2]

    def cutting():
        for ids in batches:
            yield ids
            with torch.no_grad():
                for weight, hole in holes:
                    weight[hole] = 0.0

    return in_one_go(pruned, teacher, cutting(), optimizer, temperature)


def set_to_zero_by_name(pruned, teacher, batches, optimizer, temperature=1.0):
    cut_away = {n: w == 0 for n, w in pruned.named_parameters() if w.ndim > 1}
    losses = []
    for ids in batches:
        losses.extend(in_one_go(pruned, teacher, [ids], optimizer, temperature))
        for name, where in cut_away.items():
            pruned.get_parameter(name).data[where] = 0.0
    return losses


RECOVER_FORMS = edited(
    set_to_zero_by_name,
    """
## the mask is lost
- data[where] = 0.0 → data[where] *= 1.0
## once, at the end
- for ids in batches: → for all_of_them in [list(batches)]:
- teacher, [ids], → teacher, all_of_them,
## the gradients are masked, not the weights
- losses = []
+ losses, hooks = [], []
+ for name, where in cut_away.items():
+     weight = pruned.get_parameter(name)
+     hooks.append(weight.register_hook(lambda slope, where=where: slope.masked_fill(where, 0)))
- data[where] = 0.0 → data[where]
- return losses
+ for hook in hooks:
+     hook.remove()
+ return losses
## the kept ones are cut
- w == 0 for n, w → w != 0 for n, w
## what has become small is cut too
- data[where] = 0.0 → data[where | (pruned.get_parameter(name).abs() <= 0.2)] = 0.0
## zeros of the norms stay too
- pruned.named_parameters() if w.ndim > 1} → pruned.named_parameters()}
## norms are masked away
- {n: w == 0 for n, w in pruned.named_parameters() if w.ndim > 1}
+ {n: (w == 0) | (w.ndim == 1) for n, w in pruned.named_parameters()}
## the temperature forgotten
- optimizer, temperature)) → optimizer))
""",
)

UNNAMED_RECOVER = edited(
    set_to_zero_by_name,
    """
## the layers alone
- if w.ndim > 1} → if n.startswith("layers.0.f")}
## half of it comes back
- data[where] = 0.0 → data[where] *= 0.5
## the first batch alone
- for ids in batches: → for ids in list(batches)[:1]:
""",
)

# --- the tables -----------------------------------------------------------------------------------

RIGHT = {
    "soft_targets": (by_exponents, by_logarithms),
    "distillation_loss": (with_log_targets, by_two_entropies),
    "train_student": (in_one_go, one_kind_where_one_will_do),
    "sequence_targets": (all_read_anew, into_a_table),
    "recover": (when_the_next_is_asked_for, set_to_zero_by_name),
}
SECOND_FORMS = {
    "soft_targets": SOFT_FORMS,
    "distillation_loss": LOSS_FORMS,
    "train_student": STUDENT_FORMS,
    "sequence_targets": SEQUENCE_FORMS,
    "recover": RECOVER_FORMS,
}
UNNAMED = {
    "soft_targets": tuple(UNNAMED_SOFT.values()),
    "distillation_loss": tuple(UNNAMED_LOSS.values()),
    "train_student": tuple(UNNAMED_STUDENT.values()),
    "sequence_targets": tuple(UNNAMED_SEQUENCE.values()),
    "recover": tuple(UNNAMED_RECOVER.values()),
}

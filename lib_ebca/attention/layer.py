"""One cross-attention layer under a cascade: fused where it is the host's own, wrapped where somebody else owns it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor

from lib_ebca.attention.adjoint import Adjoint, adjoint
from lib_ebca.attention.blending import look
from lib_ebca.attention.cascade import Cascade, Evaluation, KeysValues, Stream
from lib_ebca.attention.energy import key_step, merge_heads, picture_pull, prior_weights, split_heads
from lib_ebca.attention.following import followed_output
from lib_ebca.attention.layer_size import UnknownSizeError, layer_size
from lib_ebca.attention.moment import Group, Update, Where
from lib_ebca.attention.projections import Projections, TextMask
from lib_ebca.attention.value_factors import ValueFactors

FACTORS_LEFT_OUT = (
    "Factors of words by head were left out in layers whose attention another extension or processor computes."
)
FOLLOWING_LEFT_OUT = (
    "The picture's words do not follow in layers whose attention another extension or processor computes."
)


def attention(
    layer: Projections,
    cascade: Cascade,
    hidden_states: Tensor,
    given: Tensor,
    attend: Callable[[Tensor], Tensor],
    own: bool,
    text: TextMask | None = None,
) -> Tensor:
    """A host's cross-attention layer under a cascade.

    Args:
        layer: the host's projections.
        cascade: the contexts; they are left as the next layer shall find them.
        hidden_states: (B, N, C_in), what the queries are made of.
        given: (B, T, D), what the host would have the layer read.
        attend: the layer as it was found: context (B, T', D) to output (B, N, C_out).
        own: whether ``attend`` is the host's plain attention, so that the fused form computes the same.
        text: where ``attend`` masks tokens of the host's context out.

    Returns:
        (B, N, C_out). While the plan does nothing this is ``attend(given)``, bit for bit.

    Raises:
        UnknownRowsError: the batch is not the one that was announced.
        UnknownSizeError: there is a mask, and the layer's pixels are not those of a halved latent.
        NotLinearError: the context cannot be updated through ``to_k``.
    """
    evaluation = cascade.enter(layer.index, given)
    if not cascade.prepared:
        cascade.renew(layer.index, layer.sources)
    if not evaluation.acts:
        if cascade.recorder is not None and cascade.recorder.wants(_size(hidden_states.shape[1], evaluation)):
            query, key = layer.to_q(hidden_states), layer.to_k(given)
            _record(layer, cascade, evaluation, split_heads(query, layer.heads), split_heads(key, layer.heads))
        return attend(given)
    if own:
        output = _fused(layer, cascade, evaluation, hidden_states, given)
    else:
        output = _wrapped(layer, cascade, evaluation, hidden_states, given, attend, text)
    if not cascade.prepared:
        evaluation.served.add(layer.index)
    return output


def prepare(layers: Sequence[Projections], cascade: Cascade, given: Tensor) -> None:
    """Make what the layers keep before they run, so that a compiled graph finds it from its first evaluation on.

    Args:
        layers: all of the host's that are the host's own.
        cascade: begun with ``given``.
        given: (B, T, D).

    Raises:
        NotLinearError: a context cannot be updated through a layer's ``to_k``.
    """
    evaluation = cascade.evaluation
    assert evaluation is not None
    if not evaluation.acts:
        return
    for layer in layers:
        cascade.renew(layer.index, layer.sources)
        if _moves(layer, cascade, evaluation):
            _adjoint(layer, cascade, given)
        if evaluation.kept is not None:
            _main_keys_values(layer, evaluation, given)
        for stream in evaluation.streams:
            if stream.kept is not None:
                _keys_values(layer, stream.context, given, stream.group.weights, stream.kept)


def _fused(
    layer: Projections, cascade: Cascade, evaluation: Evaluation, hidden_states: Tensor, given: Tensor
) -> Tensor:
    """The queries are made once for the output, every edit and the update."""
    queries = layer.to_q(hidden_states)
    query = split_heads(queries, layer.heads)
    keys, values = _main_keys_values(layer, evaluation, given)
    output = _attended_main(layer, cascade, evaluation, query, keys, values)
    for stream in evaluation.streams:
        output = _averaged(layer, cascade, stream, queries, given, output)
    _record(layer, cascade, evaluation, query, split_heads(keys, layer.heads))
    _update_main(layer, cascade, evaluation, query, keys, given)
    return layer.to_out(output.to(query.dtype))


def _main_keys_values(layer: Projections, evaluation: Evaluation, given: Tensor) -> tuple[Tensor, Tensor]:
    now = evaluation.moment
    return _keys_values(layer, evaluation.main, given, now.weight, evaluation.kept, now.factors)


def _keys_values(
    layer: Projections,
    context: Tensor,
    given: Tensor,
    weight: Tensor | None,
    kept: KeysValues | None,
    factors: ValueFactors | None = None,
) -> tuple[Tensor, Tensor]:
    """Keys of a context, and values times the rows' shares and factors: fewer numbers than the output has."""
    if kept is not None and layer.index in kept:
        return kept[layer.index]
    context = context.to(given.dtype)
    keys, values = layer.to_k(context), layer.to_v(context)
    if weight is not None:
        values = values * weight.to(values.dtype)
    if factors is not None:
        values = factors.scaled(values, layer.index)
    # A graph of gradients serves one evaluation.
    if kept is not None and not keys.requires_grad and not values.requires_grad:
        kept[layer.index] = keys, values
    return keys, values


def _attended_main(
    layer: Projections, cascade: Cascade, evaluation: Evaluation, query: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """The main context's output; the rows that follow others take it from the others' maps."""
    now, follower = evaluation.following, cascade.follower
    if now is None or follower is None or not now.acts:
        return attended(layer, query, keys, values)
    if now.looked:
        look(follower, now, query, split_heads(keys, layer.heads), layer.scale, cascade.number, evaluation.size)
    return followed_output(now, query, keys, values, lambda q, k, v: attended(layer, q, k, v))


def attended(layer: Projections, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Fused attention of a layer: query (B, h, N, d), keys and values (B, T, C), to (B, N, C)."""
    key, value = split_heads(keys, layer.heads), split_heads(values, layer.heads)
    return merge_heads(F.scaled_dot_product_attention(query, key, value, scale=layer.scale))


def _averaged(
    layer: Projections, cascade: Cascade, stream: Stream, queries: Tensor, given: Tensor, output: Tensor
) -> Tensor:
    """CACAO's average (Eq. 12) with the terms of a stream added, and BCU on its contexts if they ask for it."""
    group = stream.group
    query = split_heads(queries[group.rows], layer.heads)
    keys, values = _keys_values(layer, stream.context, given, group.weights, stream.kept)
    terms = attended(layer, query, keys, values)
    for slot in group.slots:
        output = _added(output, slot.rows, terms[slot.members])
    if group.update is not None and _moves_edit(layer, cascade, group):
        stream.context = stream.context + _step(layer, cascade, query, keys, group.update, given)
    return output


def _added(output: Tensor, rows: Where, terms: Tensor) -> Tensor:
    """``output`` with ``terms`` added to some of its rows, in place unless gradients still need it."""
    if output.requires_grad or terms.requires_grad:
        output = output.clone()
    if isinstance(rows, slice):
        output[rows].add_(terms)
        return output
    return output.index_add_(0, rows, terms)


def _wrapped(
    layer: Projections,
    cascade: Cascade,
    evaluation: Evaluation,
    hidden_states: Tensor,
    given: Tensor,
    attend: Callable[[Tensor], Tensor],
    text: TextMask | None,
) -> Tensor:
    """Somebody else's attention is called for the main context and for each edit, and averaged."""
    output = attend(evaluation.main.to(given.dtype))
    now = evaluation.moment
    if now.factors is not None:
        cascade.tell(FACTORS_LEFT_OUT)
    if evaluation.following is not None and evaluation.following.acts:
        cascade.tell(FOLLOWING_LEFT_OUT)
    if now.weight is not None:
        output = output * now.weight.to(output.dtype)
    for stream in evaluation.streams:
        for slot in stream.group.slots:
            context = given.new_zeros(given.shape[0], *stream.context.shape[1:])
            context[slot.rows] = stream.context[slot.members].to(given.dtype)
            share = stream.group.weights[slot.members].to(output.dtype)
            edited = (attend if text is None else text.attend)(context)
            output = _added(output, slot.rows, edited[slot.rows] * share)
    if _moves(layer, cascade, evaluation) or cascade.recorder is not None:
        queries = layer.to_q(hidden_states)
        query = split_heads(queries, layer.heads)
        keys = layer.to_k(evaluation.main.to(given.dtype))
        _record(layer, cascade, evaluation, query, split_heads(keys, layer.heads))
        for stream in evaluation.streams:
            if stream.group.update is not None and _moves_edit(layer, cascade, stream.group):
                read = split_heads(queries[stream.group.rows], layer.heads)
                edit_keys = layer.to_k(stream.context.to(given.dtype))
                stream.context = stream.context + _step(layer, cascade, read, edit_keys, stream.group.update, given)
        _update_main(layer, cascade, evaluation, query, keys, given, None if text is None else text.bias)
    return output


def _moves(layer: Projections, cascade: Cascade, evaluation: Evaluation) -> bool:
    """Whether any context is other after this layer than before it."""
    edits = any(_moves_edit(layer, cascade, stream.group) for stream in evaluation.streams)
    return edits or (evaluation.moment.update is not None and not cascade.is_last(layer.index))


def _moves_edit(layer: Projections, cascade: Cascade, group: Group) -> bool:
    """Whether this layer updates editorial contexts: after the last one only drift asks for them."""
    return group.update is not None and (cascade.drift or not cascade.is_last(layer.index))


def _update_main(
    layer: Projections,
    cascade: Cascade,
    evaluation: Evaluation,
    query: Tensor,
    keys: Tensor,
    given: Tensor,
    token_bias: Tensor | None = None,
) -> None:
    update = evaluation.moment.update
    if update is not None and not cascade.is_last(layer.index):
        mask = cascade.pixel_weight(query.shape[2])
        evaluation.main = evaluation.main + _step(layer, cascade, query, keys, update, given, mask, token_bias)


def _step(
    layer: Projections,
    cascade: Cascade,
    query: Tensor,
    keys: Tensor,
    update: Update,
    like: Tensor,
    pixel_weight: Tensor | None = None,
    token_bias: Tensor | None = None,
) -> Tensor:
    """BCU's step of the context, (R, T, D): the step of the keys, taken back through the matrix that made them.

    It comes in the keys' type; the context, which it is added to, is in float32 at least.
    """
    pull = weights = None
    if update.attn is not None:
        pull = picture_pull(query, split_heads(keys, layer.heads), layer.scale, pixel_weight)
    if update.norm is not None:
        weights = prior_weights(keys, update.prior_scale, token_bias)
    if pull is not None and token_bias is not None:
        pull = pull * token_bias.exp().clamp(max=1)[..., None].to(pull.dtype)
    step = key_step(pull, keys, update.attn, update.norm, weights)
    return _adjoint(layer, cascade, like)(step.to(keys.dtype))


def _adjoint(layer: Projections, cascade: Cascade, like: Tensor) -> Adjoint:
    if layer.index not in cascade.adjoints:
        cascade.adjoints[layer.index] = adjoint(layer.to_k, like)
    return cascade.adjoints[layer.index]


def _record(layer: Projections, cascade: Cascade, evaluation: Evaluation, query: Tensor, key: Tensor) -> None:
    if cascade.recorder is None:
        return
    rows = conditional_rows(evaluation.moment.rows.picture, evaluation.moment.rows.conditional)
    if not rows:
        # A host may send the unconditional rows in a call of their own.
        return
    # A repeated context is read as it was encoded, else each copy of a word has its share of what looks at it.
    copies = min(evaluation.moment.rows.copies_of(row) for row in rows)
    key = key[:, :, : key.shape[2] // copies]
    size = _size(query.shape[2], evaluation)
    if cascade.recorder.wants(size):
        scale = query.shape[-1] ** -0.5 if layer.scale is None else layer.scale
        cascade.recorder.see(cascade.number, layer.index, layer.name, query, key, scale, size, rows)


def _size(pixels: int, evaluation: Evaluation) -> tuple[int, int] | None:
    try:
        return layer_size(pixels, *evaluation.size)
    except UnknownSizeError:
        return None


def conditional_rows(picture: Sequence[int], conditional: Sequence[bool]) -> list[int]:
    """The first conditional row of each picture, in the pictures' order."""
    rows: dict[int, int] = {}
    for row, (owner, wanted) in enumerate(zip(picture, conditional, strict=True)):
        if wanted:
            rows.setdefault(owner, row)
    return [rows[owner] for owner in sorted(rows)]

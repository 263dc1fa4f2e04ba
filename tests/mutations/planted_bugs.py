"""Classic bugs of hand-object motion generation, as they would be planted: which text becomes which, and who sees it.

``old`` occurs exactly once in ``file``, or the list is stale. ``tests`` are the files (or single tests) of which at
least one has to turn red. ``lesson`` is what the bug teaches. ``python scripts/mutations.py`` plants them all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """One bug: its name, the file it is planted in, the text before and after, the tests to run, what it teaches."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    lesson: str


BUGS: tuple[Bug, ...] = (
    # --- units, rotations, frames of reference ---
    Bug(
        "6D rows for columns",
        "hoi_lib/rotations.py",
        "return R[..., :, :2].flatten(-2)",
        "return R[..., :2, :].flatten(-2)",
        ("tests/test_rotations.py",),
        "Both layouts give valid rotations; the wrong one gives the inverse of what was meant.",
    ),
    Bug(
        "errors reported in metres",
        "hoi_lib/metrics.py",
        "return float(1000 * error[valid].mean())",
        "return float(error[valid].mean())",
        ("tests/test_metrics.py",),
        "Metres inside, millimetres in tables: the factor belongs in one place.",
    ),
    Bug(
        "contact threshold in millimetres",
        "hoi_lib/interaction.py",
        "CONTACT = 0.010",
        "CONTACT = 10.0",
        ("tests/test_interaction.py::test_contact_begins_at_ten_millimetres_not_metres",),
        "Everything touches everything within ten metres, and the loss still goes down.",
    ),
    Bug(
        "object frame by the wrong rotation",
        "hoi_lib/motion.py",
        "    inverse = R_o.transpose(-1, -2)\n    wrist",
        "    inverse = R_o\n    wrist",
        ("tests/test_motion.py",),
        "Going into a frame takes the transpose; as long as the object does not turn nobody notices.",
    ),
    Bug(
        "hand turned about the origin, not about its wrist",
        "hoi_lib/motion.py",
        "wrist = pose[..., :3] + wrist_rest[:, None] - t_o",
        "wrist = pose[..., :3] - t_o",
        ("tests/test_motion.py",),
        "MANO's translation is not the wrist: it is ten centimetres from it.",
    ),
    Bug(
        "left and right hand swapped",
        "hoi_lib/interaction.py",
        "for index, name in enumerate(SIDES)}\n",
        "for index, name in enumerate(SIDES[::-1])}\n",
        ("tests/test_losses.py::test_left_and_right_hands_of_one_batch_are_each_posed_by_their_own_model",),
        "A mirrored hand has plausible joints; only a comparison with its own model shows it.",
    ),
    # --- the hand ---
    Bug(
        "chain multiplied from the wrong side",
        "hoi_lib/hand.py",
        "new_turn = above @ rotations[:, level]",
        "new_turn = rotations[:, level] @ above",
        ("tests/test_hand.py::test_agrees_with_a_float64_reference",),
        "A finger's bend is given in the frame of the bone above it.",
    ),
    Bug(
        "pose blend shapes not zero at rest",
        "hoi_lib/hand.py",
        "bend = (rotations[:, 1:] - torch.eye(3, dtype=dtype, device=rotations.device)).flatten(1)",
        "bend = rotations[:, 1:].flatten(1)",
        ("tests/test_hand.py::test_agrees_with_a_float64_reference",),
        "The blend shapes are driven by R − I: without the identity a resting hand is repaired for a bend it has not.",
    ),
    # --- diffusion ---
    Bug(
        "noise level off by one",
        "hoi_lib/diffusion.py",
        "return _at(self.alpha_bar.sqrt(), t, x0) * x0",
        "return _at(self.alpha_bar.sqrt(), t - 1, x0) * x0",
        ("tests/test_diffusion.py",),
        "Signal and noise must come from the same row of the table, and row 0 is the first noising step.",
    ),
    Bug(
        "beta for the posterior's variance",
        "hoi_lib/diffusion.py",
        "variance=self.beta * noise_before / self.noise_variance,",
        "variance=self.beta,",
        ("tests/test_diffusion.py",),
        "The two differ in the last steps only, where the motion gets its details.",
    ),
    Bug(
        "noise scaled by a variance",
        "hoi_lib/diffusion.py",
        "x = x + float(variance[t]) ** 0.5 * _noise_like(x, generator)",
        "x = x + float(variance[t]) * _noise_like(x, generator)",
        ("tests/test_diffusion.py",),
        "Samples come out too much alike: the spread is gone, the mean is right.",
    ),
    Bug(
        "DDIM counts the signal twice",
        "hoi_lib/diffusion.py",
        "return math.exp(log_there / 2) - b * math.exp(log_here / 2), b,",
        "return math.exp(log_there / 2), b,",
        ("tests/test_diffusion.py",),
        "What is kept of x_t holds signal too, and it has to be taken off the estimate's share.",
    ),
    Bug(
        "the same noise in every step",
        "hoi_lib/feed.py",
        "dice = generator(self.seed, 1, step)",
        "dice = generator(self.seed, 1)",
        ("tests/test_feed.py",),
        "Training runs and the loss falls, on one draw of the noise.",
    ),
    # --- routing ---
    Bug(
        "detached router",
        "hoi_lib/selection.py",
        "gate = scores * mask\n",
        "gate = scores.detach() * mask\n",
        ("tests/test_routing.py",),
        "The experts still learn, so the loss falls; the router stays as it was drawn.",
    ),
    Bug(
        "weights normalised group by group",
        "hoi_lib/selection.py",
        'axes = (-1,) if self.normalise == "group" else (-2, -1)',
        "axes = (-1,)",
        ("tests/test_routing.py",),
        "With one active expert per group every weight is 1, and no task gradient reaches the router.",
    ),
    Bug(
        "one expert too many",
        "hoi_lib/selection.py",
        "stable=True).indices[..., :active]",
        "stable=True).indices[..., : active + 1]",
        ("tests/test_routing.py",),
        "A slice's end is not part of it.",
    ),
    Bug(
        "softmax over groups instead of experts",
        "hoi_lib/selection.py",
        "return logits.softmax(-1, dtype=",
        "return logits.softmax(-2, dtype=",
        ("tests/test_routing.py",),
        "With three groups of three experts the shapes agree, and so do the sums over everything.",
    ),
    Bug(
        "action branch dropped",
        "hoi_lib/routing.py",
        "    logits = sum(branches.values())\n    scores = probabilities(logits)\n    mask, gate = first",
        '    logits = branches["time"] if "time" in branches else sum(branches.values())\n'
        "    scores = probabilities(logits)\n    mask, gate = first",
        ("tests/test_routing.py",),
        "The router still reacts to the noise level, and its balance is perfect.",
    ),
    Bug(
        "balance on the combined logits",
        "hoi_lib/routing.py",
        "torch.stack([probabilities(x) for x in branches.values()], 1),",
        "torch.stack([scores for _ in branches], 1),",
        ("tests/test_routing.py",),
        "Two lopsided branches can cancel out: each has to be balanced by itself.",
    ),
    Bug(
        "balance loss never added over the blocks",
        "hoi_lib/denoiser.py",
        "balance = balance + uneven",
        "balance = balance + 0 * uneven",
        ("tests/test_experts.py",),
        "The commonest bug of mixtures: computed in every block, and lost on the way to the total.",
    ),
    Bug(
        "balance loss shown but not trained",
        "hoi_lib/objective.py",
        '"balance": estimate.balance,',
        '"balance": estimate.balance.detach(),',
        ("tests/test_objective.py",),
        "The curve is there; it only never moves the router.",
    ),
    # --- experts and the network ---
    Bug(
        "a group hears another group's text",
        "hoi_lib/experts.py",
        "for group, text in zip(self.groups, texts, strict=True)) if texts",
        "for group, text in zip(self.groups, texts[::-1], strict=True)) if texts",
        ("tests/test_experts.py",),
        "Three texts of the same shape: the joints hear about the hand, and nothing complains.",
    ),
    Bug(
        "residual dropped after cross-attention",
        "hoi_lib/experts.py",
        "return self.norm(tokens + self.attention(tokens, heard))",
        "return self.norm(0 * tokens + self.attention(tokens, heard))",
        ("tests/test_experts.py",),
        "With a single key the answer is the same for every token: without the residual so is everything after it.",
    ),
    Bug(
        "padding of a text heard",
        "hoi_lib/experts.py",
        "scaled_dot_product_attention(q, heard.keys, heard.values, heard.mask, p)",
        "scaled_dot_product_attention(q, heard.keys, heard.values, None, p)",
        ("tests/test_experts.py",),
        "The same sentence would mean something else beside a longer one.",
    ),
    Bug(
        "gate dropped by the fast executor",
        "hoi_lib/experts.py",
        "gate = gate_BM[:, m] if chosen is None else gate_BM[chosen, m]",
        "gate = gate_BM[:, m] if chosen is None else torch.ones_like(gate_BM[chosen, m])",
        ("tests/test_experts.py",),
        "Two executors are only worth having if they are held against each other.",
    ),
    Bug(
        "padded frames attended to",
        "hoi_lib/denoiser.py",
        "mask = valid[:, None, None] if valid is not None and self.config.mask_padding else None",
        "mask = None",
        ("tests/test_denoiser.py",),
        "The same clip would move differently in a batch with a longer one.",
    ),
    Bug(
        "conditions withheld outside training",
        "hoi_lib/denoiser.py",
        "config.condition_dropout if self.training else 0.0",
        "config.condition_dropout",
        ("tests/test_denoiser.py",),
        "One generated clip in ten would not listen to its sentence.",
    ),
    Bug(
        "noise level not heard",
        "hoi_lib/denoiser.py",
        "time = self.time(sinusoid(t_B, self.config.width))",
        "time = self.time(sinusoid(0 * t_B, self.config.width))",
        ("tests/test_denoiser.py", "tests/test_experts.py"),
        "A network can guess the level from the noise itself, so the loss hardly tells.",
    ),
    # --- losses ---
    Bug(
        "padding counted in the mean",
        "hoi_lib/geometry.py",
        "torch.zeros_like(x)).sum() / _count(mask)",
        "torch.zeros_like(x)).sum() / mask.numel()",
        ("tests/test_geometry.py",),
        "Short clips would count for less, and a loss would depend on who else is in the batch.",
    ),
    Bug(
        "contact read from the prediction",
        "hoi_lib/interaction.py",
        "return contact_sets(self.truth)",
        "return contact_sets(self.near)",
        ("tests/test_interaction.py",),
        "A hand that lets go has no contact left to be pulled to, and the loss is 0.",
    ),
    Bug(
        "penetration with the wrong sign",
        "hoi_lib/losses.py",
        "* take(normals, near.vertex)).sum(-1) < 0",
        "* take(normals, near.vertex)).sum(-1) > 0",
        ("tests/test_interaction.py",),
        "It pulls the object's points into the hand instead of out of it.",
    ),
    Bug(
        "acceleration at the wrong lag",
        "hoi_lib/losses.py",
        "vertices[:, 2:] - 2 * vertices[:, 1:-1] + vertices[:, :-2]",
        "vertices[:, 2:] - 2 * vertices[:, :-2] + vertices[:, :-2]",
        ("tests/test_losses.py",),
        "It becomes a velocity: every motion is punished, not only a trembling one.",
    ),
    Bug(
        "lambda on the wrong half of the distance loss",
        "hoi_lib/losses.py",
        "masked_mean(to_hand, valid[..., None]) + weight * masked_mean(to_object, valid[..., None])",
        "weight * masked_mean(to_hand, valid[..., None]) + masked_mean(to_object, valid[..., None])",
        ("tests/test_interaction.py",),
        "Most vertices are far from the object: their half is the one that is weighed down.",
    ),
    Bug(
        "terms summed without their weights",
        "hoi_lib/losses.py",
        "sum((weights[name] * value for",
        "sum((value for",
        ("tests/test_losses.py",),
        "Millimetres are small numbers: without their weights the geometric terms vanish beside the first.",
    ),
    # --- guided sampling ---
    Bug(
        "guidance uphill",
        "hoi_lib/guidance.py",
        "step = KEPT * step - self.pace * slope",
        "step = KEPT * step + self.pace * slope",
        ("tests/test_guidance.py::test_a_hand_beside_the_ball_touches_it",),
        "The hand flees from what it should hold, and only the sign of a number says so.",
    ),
    Bug(
        "guide asked and not followed",
        "hoi_lib/diffusion.py",
        """            x0 = guide(x0, t)
        if callback:
            callback(Step(t, x, x0))
        a, b, sigma""",
        """            guide(x0, t)
        if callback:
            callback(Step(t, x, x0))
        a, b, sigma""",
        ("tests/test_diffusion.py",),
        "It costs its time at every step and changes nothing.",
    ),
    # --- reading recorded sets ---
    Bug(
        "ARCTIC's mean pose left out",
        "hoi_lib/data/arctic.py",
        "np.concatenate([turn, offsets + self._means[side]], 1)",
        "np.concatenate([turn, offsets], 1)",
        ("tests/data/test_arctic.py::test_everything_is_where_the_generator_put_it",),
        "ARCTIC stores fingers as offsets from MANO's mean pose; without it every hand is half open.",
    ),
    Bug(
        "ARCTIC's frames counted from 0",
        "hoi_lib/data/arctic.py",
        "segments.append(Segment(first - 1, last, verb, hands))",
        "segments.append(Segment(first, last, verb, hands))",
        ("tests/data/test_arctic.py::test_frames_are_counted_from_1_and_the_last_one_counts",),
        "The annotation counts from 1; off by one is a frame that no metric sees.",
    ),
    Bug(
        "ARCTIC's hinge turning the other way",
        "hoi_lib/data/arctic_objects.py",
        "np.array([0.0, 0.0, -1.0])",
        "np.array([0.0, 0.0, 1.0])",
        ("tests/data/test_arctic.py::test_everything_is_where_the_generator_put_it",),
        "The laptop opens into the table, and rigid objects look right.",
    ),
    Bug(
        "GRAB's object rotation not transposed",
        "hoi_lib/data/grab.py",
        "np.swapaxes(axis_angle_to_matrix(turn), -1, -2).copy()",
        "axis_angle_to_matrix(turn)",
        ("tests/data/test_grab.py",),
        "GRAB multiplies rows, so its rotation is the transpose of everyone else's.",
    ),
    Bug(
        "GRAB's last frame of contact kept",
        "hoi_lib/data/grab.py",
        "np.arange(touched[0], touched[-1]) * stride",
        "np.arange(touched[0], touched[-1] + 1) * stride",
        ("tests/data/test_grab.py",),
        "The published clips end before the last frame of contact.",
    ),
    Bug(
        "H2O left in the camera's frame",
        "hoi_lib/data/h2o.py",
        "        rotations[:, 0] = camera[:, :3, :3] @ rotations[:, 0]\n",
        "        pass\n",
        ("tests/data/test_h2o.py::test_joints_vertices_and_object_points_are_where_they_were",),
        "A head that moves makes a table that moves; hand and object still touch.",
    ),
    Bug(
        "H2O's camera the wrong way round",
        "hoi_lib/data/h2o.py",
        "        pose = camera @ local\n",
        "        pose = np.linalg.inv(camera) @ local\n",
        ("tests/data/test_h2o.py::test_joints_vertices_and_object_points_are_where_they_were",),
        "cam_pose goes from the camera to the world, not back.",
    ),
    Bug(
        "H2O's valid flags ignored",
        "hoi_lib/data/h2o.py",
        "valid = there & seen & (rows[:, 0] == 1)",
        "valid = there & seen",
        ("tests/data/test_h2o.py",),
        "A hand that was not seen is written as zeros, at the camera's eye.",
    ),
    Bug(
        "Text2HOI's GRAB rotation not transposed",
        "hoi_lib/data/text2hoi.py",
        "            rotation = rotation.transpose(0, 2, 1)  # stored for rows: v R + t\n",
        "            pass\n",
        ("tests/data/test_text2hoi.py",),
        "A format inherits the conventions of the set it was made from.",
    ),
    Bug(
        "every caption drawn as often as it occurs",
        "hoi_lib/feed.py",
        "    return [1 / count[caption] for caption in captions]",
        "    return [1.0 for caption in captions]",
        ("tests/test_feed.py",),
        "Text2HOI draws rare captions as often as common ones; an epoch then means something else.",
    ),
    # --- training ---
    Bug(
        "running average not saved",
        "hoi_lib/train.py",
        "self.average.denoiser.save_pretrained(folder)",
        "self.model.save_pretrained(folder)",
        ("tests/test_train.py::test_the_folder_holds_the_averaged_weights_and_exports_at_half_the_size",),
        "The average costs memory in every step; it has to be what is used in the end.",
    ),
    Bug(
        "running average the wrong way round",
        "hoi_lib/train.py",
        "slow.lerp_(fast, 1 - keep)",
        "slow.lerp_(fast, keep)",
        ("tests/test_train.py::test_the_average_follows_the_weights_quickly_at_first",),
        "0.999 of the newest weights is no average.",
    ),
    # --- metrics ---
    Bug(
        "penetration at the threshold itself",
        "hoi_lib/metrics.py",
        "return float((depth[valid] > threshold).mean())",
        "return float((depth[valid] >= threshold).mean())",
        ("tests/test_metrics.py",),
        "Beyond one centimetre is strict; a threshold is a definition, not a detail.",
    ),
)

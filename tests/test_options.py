"""Every key of every config changes the model, the data, the loss or what is written: none goes nowhere.

The keys are found in conf/. A key whose other value does not stand in ``OTHER`` fails here, and so does one whose other
value makes no difference. True and false, and the numbers of a chain, have their other value without an entry.
"""

import re
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import pytorch_lightning as pl
import torch
import yaml
from fake_data import write_mnist
from helpers import CONF, OPTIONS, files, made_layers, small
from tiny_chain import planned

from aelab.config.build import made_from_layers
from aelab.errors import UserError
from aelab.rbm.temperatures import paper
from aelab.runs import folder as run_folder
from aelab.runs import train

# "group:key" or "group=option:key" → overrides that give it another value; before a "|" stand overrides of both runs.
# {tmp} is an empty folder, {other} another data folder, {below} a run's folder with layers to stand on.
DOCUMENTS = "model=replicated_softmax evaluate.perplexity.lda_samples=5 "
BITS = "model=rbm data.binarize=bernoulli | "
OTHER = {
    "config:seed": "seed=1",
    "config:below": "model=rbm | below={below}",
    "train:epochs": "train.epochs=3",
    "train:batch_size": "train.batch_size=8",
    "train:clip": "train.clip=0.01",
    "train:monitor": "train.monitor=val/squared_error",
    "train:mode": "train.mode=max",
    # what else happens in training
    "callbacks:early_stopping.monitor": "optimizer.lr=1e-30 | callbacks.early_stopping.monitor=train/loss",
    "callbacks:early_stopping.mode": "callbacks.early_stopping.mode=max",
    "callbacks:early_stopping.patience": "optimizer.lr=1e-30 train.epochs=4 | callbacks.early_stopping.patience=1",
    "callbacks:early_stopping.min_delta": (
        "train.epochs=4 callbacks.early_stopping.patience=1 | callbacks.early_stopping.min_delta=9"
    ),
    "callbacks:checkpoints.filename": "callbacks.checkpoints.every_n_train_steps=2 | callbacks.checkpoints.filename=u",
    "callbacks:checkpoints.auto_insert_metric_name": (
        "callbacks.checkpoints.every_n_train_steps=2 | callbacks.checkpoints.auto_insert_metric_name=true"
    ),
    "callbacks:checkpoints.every_n_train_steps": "callbacks.checkpoints.every_n_train_steps=2",
    "callbacks:checkpoints.save_top_k": (
        "callbacks.checkpoints.every_n_train_steps=2 callbacks.checkpoints.monitor=val/loss"
        " | callbacks.checkpoints.save_top_k=1"
    ),
    "callbacks:checkpoints.monitor": (
        "callbacks.checkpoints.every_n_train_steps=4 | callbacks.checkpoints.monitor=val/loss"
    ),
    "callbacks:checkpoints.mode": (
        "callbacks.checkpoints.every_n_train_steps=4 callbacks.checkpoints.monitor=val/loss"
        " | callbacks.checkpoints.mode=max"
    ),
    "callbacks:learning_rate.logging_interval": "logger=wandb | callbacks.learning_rate.logging_interval=epoch",
    "callbacks:learning_rate.log_momentum": "logger=wandb | callbacks.learning_rate.log_momentum=true",
    "callbacks:weight_averaging.decay": "callbacks.weight_averaging.decay=0.5",
    "callbacks:weight_averaging.update_every_n_steps": "callbacks.weight_averaging.update_every_n_steps=2",
    "callbacks:weight_averaging.update_starting_at_step": "callbacks.weight_averaging.update_starting_at_step=4",
    "config:evaluate.weights": "schedule=steps schedule.gamma=10 | evaluate.weights=best",
    "config:evaluate.nll_samples": "model=vae | evaluate.nll_samples=7",
    **{
        f"evaluate:annealing.{key}": f"model=vae evaluate.annealing.images=5 evaluate.annealing.temperatures=9 | "
        f"evaluate.annealing.{key}={value}"
        for key, value in {"chains": 3, "leapfrog": 2, "temperatures": 4}.items()
    },
    "evaluate:annealing.images": "model=vae evaluate.annealing.temperatures=9 | evaluate.annealing.images=4",
    "evaluate:probe.c": "evaluate.probe.c=100",
    "evaluate:probe.scale": "evaluate.probe.scale=all",
    "evaluate:knn.neighbours": "evaluate.knn.neighbours=1",
    "evaluate:label_spreading.per_class": "evaluate.label_spreading.per_class=1",
    "evaluate:label_spreading.neighbours": "evaluate.label_spreading.neighbours=1",
    "evaluate:label_spreading.alpha": "evaluate.label_spreading.alpha=0.1",
    "evaluate:label_spreading.draws": "evaluate.label_spreading.per_class=1 | evaluate.label_spreading.draws=2",
    "evaluate:svm.of": "evaluate.svm.of=code",
    "evaluate:svm.costs": "evaluate.svm.costs=[0.001]",
    "evaluate:svm.gammas": "evaluate.svm.gammas=[100]",
    "evaluate:likelihood.every": BITS + "evaluate.likelihood.every=1",
    "evaluate:likelihood.exact": BITS + "evaluate.likelihood.exact=false",
    "evaluate:likelihood.runs": BITS + "evaluate.likelihood.runs=7",
    "evaluate:likelihood.temperatures": BITS + "evaluate.likelihood.temperatures=paper",
    "evaluate:likelihood.step_ess": BITS + "evaluate.likelihood.step_ess=0.9",
    "evaluate:likelihood.samples": "model=deep_belief_network data.binarize=bernoulli below={below} | "
    "evaluate.likelihood.samples=2",
    "evaluate:likelihood.raise_inputs": BITS + "evaluate.likelihood.raise_inputs=3",
    "evaluate:likelihood.ensembles": BITS + "evaluate.likelihood.ensembles=4",
    "evaluate:likelihood.burn_in": BITS + "evaluate.likelihood.burn_in=3",
    "evaluate:likelihood.draws": BITS + "evaluate.likelihood.draws=2",
    "evaluate:likelihood.thin": BITS + "evaluate.likelihood.thin=1",
    "evaluate:perplexity.exact": DOCUMENTS + "| evaluate.perplexity.exact=0",
    "evaluate:perplexity.documents": DOCUMENTS + "evaluate.perplexity.exact=0 | evaluate.perplexity.documents=2",
    "evaluate:perplexity.runs": DOCUMENTS + "evaluate.perplexity.exact=0 | evaluate.perplexity.runs=7",
    "evaluate:perplexity.step_ess": DOCUMENTS + "evaluate.perplexity.exact=0 | evaluate.perplexity.step_ess=0.9",
    "evaluate:perplexity.ensembles": DOCUMENTS + "evaluate.perplexity.exact=0 | evaluate.perplexity.ensembles=4",
    "evaluate:perplexity.burn_in": DOCUMENTS + "evaluate.perplexity.exact=0 | evaluate.perplexity.burn_in=3",
    "evaluate:perplexity.draws": DOCUMENTS + "evaluate.perplexity.exact=0 | evaluate.perplexity.draws=2",
    "evaluate:perplexity.thin": DOCUMENTS + "evaluate.perplexity.exact=0 | evaluate.perplexity.thin=1",
    "evaluate:perplexity.lda_samples": DOCUMENTS + "| evaluate.perplexity.lda_samples=0",
    "evaluate:retrieval.neighbours": "model=replicated_softmax | evaluate.retrieval.neighbours=1",
    "evaluate:rating_baselines.factors": "model=rating_rbm | evaluate.rating_baselines.factors=1",
    "evaluate:rating_baselines.penalties": "model=rating_rbm | evaluate.rating_baselines.penalties=[9]",
    "evaluate:rating_baselines.bias_penalties": "model=rating_rbm | evaluate.rating_baselines.bias_penalties=[99]",
    "evaluate:nll.samples": "model=vae | evaluate.nll.samples=7",
    "config:figures.format": "model=contractive | figures.format=svg",
    "config:figures.dpi": "model=contractive | figures.dpi=90",
    # data
    "data:root": "data=mnist | data.root={other}",
    "data:cache": "data=mnist data.root=null data.download=false | data.cache={tmp}",
    "data:download": "data=mnist data.root=null | data.download=false",
    "data:validation": "data.validation=20",
    "data:train_size": "data.train_size=40",
    "data:labelled": "data.labelled=20",
    "data:binarize": "data.binarize=threshold",
    "data=documents:validation": "data.validation=0.3",
    "data=documents:train_size": "data.train_size=20",
    "data=documents:test_seed": "data.test_seed=1",
    "data=documents:test": "data.test=0.4",
    "data=documents:label": "data.label=null",
    "data=documents:labelled": "data.labelled=5",
    "data:vocabulary": "data.vocabulary=5",
    "data:min_documents": "data.min_documents=50",
    "data=ratings:validation": "data.validation=0.3",
    "data=ratings:test_seed": "data.test_seed=1",
    "data:rows": "data.rows=items",
    "data:folds": "data.folds=3",
    "data:fold": "data.fold=1",
    "data:shift": "data.shift=1",
    "data:mirror": "data.mirror=both",
    "data:rotate": "data.rotate=10",
    "data:zoom": "data.zoom=0.1",
    "data:mix": "data.mix=0.5",
    "data:source.seed": "data.source.seed=1",
    "data:source.test_fraction": "data.source.test_fraction=0.3",
    "data:source.n_train": "data.source.n_train=350",
    "data:source.n_test": "data.source.n_test=150",
    "data:source.noise": "data.source.noise=0.5",
    "data:source.validate_on": "data.source.validate_on=people",
    "data:source.scale_over": "data.source.scale_over=train",
    "data:source.root": "data.source.root={other}",
    "data:source.cache": "data.source.cache={tmp}",
    "data=mnist:source.cache": "data.root=null data.download=false | data.source.cache={tmp}",
    "data=fashion_mnist:source.cache": "data.root=null data.download=false | data.source.cache={tmp}",
    "data=mnist_variation:source.cache": "data.root=null data.download=false | data.source.cache={tmp}",
    "data=mnist_variation:source.kind": "data.source.kind=random_background",
    "data=faces:source.cache": "data.root=null data.download=false | data.source.cache={tmp}",
    "data:source.download": "data.root=null | data.source.download=false",
    "data:test": "data=array | data.test=0.3",
    "data:test_seed": "data=array | data.test_seed=1",
    "data:array": "data.array=other",
    "data:label": "data.label=kind",
    "data=images:label": "data.label=null",
    "data:group": "data.group=household",
    "data=array:group": "data.group=part",
    "data:shape": "data.shift=1 | data.shape=[6,8]",
    "data:colour": "data.array=other data.shape=[4,4,3] model.likelihood=gaussian | data.colour=first",
    "data=images:colour": "data.colour=true",
    "data:scale": "data.scale=robust",
    "data:clip": "data.clip=[0.2,0.8]",
    "data:columns": "data.columns=[age,score,kind]",
    "data:exclude": "data.exclude=[job]",
    "data:categories": "data.categories=[kind]",
    "data:max_categories": "data.max_categories=2",
    "data:delimiter": "data.delimiter=';'",
    "data:size": "data.size=7",
    "data=images:cache": "data.cache={tmp}",
    # what is trained
    "model:n_code": "model.n_code=3",
    "model:n_hidden": "model.n_hidden=3",
    "model:code": "model.code=tanh",
    "model=deep_autoencoder:code": "model.code=linear",
    "model:likelihood": "model.likelihood=gaussian",
    "model=top_k:likelihood": "model.likelihood=bernoulli",
    "model:start": "model.start=random",
    "model=linear:start": "model.start=closed_form",
    "model:initialization": "model.initialization=small",
    "model=classifier:initialization": "model.start=random | model.initialization=small",
    "model=deep_autoencoder:initialization": "model.start=random | model.initialization=small",
    "model:dropout": "model.dropout=0.5",
    "model:top_only_epochs": "model.top_only_epochs=1",
    "model:penalty": "model.penalty=2.0",
    "model:target": "model.target=0.3",
    "model:learning_rate": "model.learning_rate=0.02",
    "model:momentum": "model.momentum=0.8",
    "model:weight_decay": "model.weight_decay=0.01",
    "model:steps": "model.steps=2",
    "model:levels": "model.levels=4",
    "model:discriminative": "model.discriminative=0.5",
    "model:generative": "model.generative=0.5",
    "model:unsupervised": "data.labelled=20 | model.unsupervised=0.5",
    "model:sparsity": "model.sparsity=0.01",
    "model:weight_std": "model.weight_std=0.3",
    "model:fantasy_steps": "model.fantasy_steps=7",
    "model:visible": "model.visible=gaussian",
    "model:hidden": "model.hidden=gaussian",
    "model:learn_variance": "model.visible=gaussian | model.learn_variance=true",
    "model:k": "model.k=2",
    "model:k_start": "model.k_start=12 model.k=2 model.anneal=1.0 | model.k_start=4",
    "model:anneal": "model.k_start=12 model.k=2 | model.anneal=0.1",
    "model:alpha": "model.k=2 | model.alpha=3.0",
    "model:auxiliary": "model.dead_after=1 model.k=1 | model.auxiliary=1.0",
    "model:k_auxiliary": "model.dead_after=1 model.k=1 model.auxiliary=1.0 | model.k_auxiliary=1",
    "model:dead_after": "model.k=1 model.auxiliary=1.0 model.dead_after=1 | model.dead_after=1000000",
    "model:selection": "model.k=2 | model.selection=lifetime",
    "model:n_latent": "model.n_latent=5",
    "model:couplings": "model.couplings=3",
    "model:prior_width": "model.prior_width=5",
    "model:top_widths": "model.top_widths=[5]",
    "model:sigma": "model.likelihood=gaussian | model.sigma=0.5",
    "model:objective": "model.samples=3 | model.objective=iwae",
    "model:samples": "model.samples=3",
    "model:beta": "model.beta=3.0",
    "model:warmup": "model.warmup=1.0",
    "model:free_bits": "model.free_bits=2.0",
    "model/network:widths": "model.network.widths=[7]",
    "model:network.widths": "model.network.widths=[7]",
    "model:network.initialization": "model.network.initialization=small",
    "model/network:channels": "model.network.channels=[3]",
    "model/network:activation": "model.network.activation=tanh",
    "model/network:initialization": "model.network.initialization=small",
    "model/recipe:steps": "model.recipe.steps=3",
    "model/recipe:n_chains": "model.recipe.persistent=true | model.recipe.n_chains=7",
    "model/recipe:temperatures": "model/recipe=pcd | model.recipe.temperatures=3",
    "model/recipe:fast_rate": "model.recipe.persistent=true | model.recipe.fast_rate=0.1",
    "model/recipe:fast_decay": "model/recipe=pcd model.recipe.fast_rate=0.1 | model.recipe.fast_decay=0.5",
    "model/recipe:learning_rate": "model.recipe.learning_rate=0.3",
    "model/recipe:momentum_start": "model.recipe.momentum_epochs=1 | model.recipe.momentum_start=0.3",
    "model/recipe:momentum_epochs": "model.recipe.momentum_start=0.3 | model.recipe.momentum_epochs=1",
    "model/recipe:momentum": "model.recipe.momentum_epochs=1 | model.recipe.momentum=0.7",
    "model/recipe:weight_decay": "model.recipe.weight_decay=0.1",
    "model/recipe:sparsity_target": "model.recipe.sparsity_cost=0.5 | model.recipe.sparsity_target=0.4",
    "model/recipe:sparsity_cost": "model.recipe.sparsity_cost=0.5",
    "model/recipe:averaging": "model.recipe.sparsity_cost=0.5 | model.recipe.averaging=0.3",
    "model/recipe:weight_std": "model.recipe.weight_std=0.3",
    "model/recipe=h06:bias_start": "model.recipe.bias_start=data",
    "model/recipe:bias_start": "model.recipe.bias_start=zero",
    # how it is trained
    "corruption:fraction": "corruption.fraction=0.8",
    "corruption:sigma": "corruption.sigma=0.8",
    "corruption:final": "corruption.final=0.9",
    "corruption:size": "corruption.size=2",
    "corruption:alpha": "corruption.alpha=3.0",
    "corruption:beta": "corruption.beta=3.0",
    "optimizer:lr": "optimizer.lr=0.07",
    "optimizer:betas": "optimizer.betas=[0.5,0.9]",
    "optimizer:eps": "optimizer.eps=0.1",
    "optimizer:weight_decay": "optimizer.weight_decay=0.5",
    "optimizer:momentum": "optimizer.momentum=0.3",
    "optimizer:ns_steps": "optimizer.ns_steps=2",
    "optimizer:max_iter": "optimizer.max_iter=1",
    "optimizer:history_size": "optimizer.history_size=1",
    "optimizer:line_search_fn": "optimizer.lr=0.1 | optimizer.line_search_fn=null",
    "schedule:final": "schedule.final=0.5",
    "schedule:warmup": "schedule.warmup=0.8",
    "schedule:start": "schedule.start=0.5",
    "schedule:milestones": "schedule.milestones=[0.1]",
    "schedule:gamma": "schedule.gamma=0.5",
    # where it runs, and what is said of it
    "hardware:accelerator": "hardware.accelerator=gpu",
    "hardware=gpu:accelerator": "hardware.accelerator=cpu",
    "hardware=multi_gpu:accelerator": "hardware.devices=2 | hardware.accelerator=cpu",
    "hardware:devices": "hardware.devices=2",
    "hardware:num_nodes": "hardware.num_nodes=2",
    "hardware:strategy": "hardware.strategy=ddp",
    "hardware=multi_gpu:strategy": "hardware.strategy=auto",
    "hardware:precision": "hardware.precision=bf16-mixed",
    "hardware:threads": "hardware.threads=2",
    "logger:project": "logger.project=another",
    "logger:entity": "logger.entity=somebody",
    "logger:mode": "logger.mode=disabled",
    "logger:name": "logger.name=mine",
    "logger:notes": "logger.notes=words",
    "logger:group": "logger.group=ours",
    "logger:job_type": "logger.job_type=stage",
    "logger:tags": "logger.tags=[tried]",
    "logger:pictures_every": "logger.pictures_every=1",
    # chains: what their stages are
    "chain:widths": "chain.widths=[5,4]",
    "chain:stages": "chain.stages=[rbm]",
    "chain=stacked_denoising:stages": "chain.stages=[layer]",
    "chain:rbm.for_each.model.n_hidden": "chain.rbm.for_each.model.n_hidden=[5]",
    "chain:layer.for_each.model.n_code": "chain.layer.for_each.model.n_code=[5,4]",
    "chain:layer.for_each.model.n_hidden": "model@chain.layer.model=rbm | chain.layer.for_each.model.n_hidden=[5,4]",
    "chain:rbm.first.model.visible": "chain.rbm.first.model.visible=gaussian",
    "chain:rbm.last.model.hidden": "chain.rbm.last.model.hidden=bernoulli",
    "chain:scratch.like": "chain.baseline=true | chain.scratch.like=rbm",
    "chain=stacked_denoising:scratch.like": "chain.baseline=true | chain.scratch.like=layer",
    "chain:scratch.when": "chain.scratch.when=true",
    "chain:scratch.baseline": "chain.baseline=true | chain.scratch.baseline=false",
    "chain:scratch.model.start": "chain.baseline=true | chain.scratch.model.start=layers",
    "chain:classifier.when": "chain.classifier.when=true",
    "chain:classifier.model.top_only_epochs": "chain.classifier.when=1 | chain.classifier.model.top_only_epochs=1",
    "chain:classifier.train.batch_size": "chain.classifier.train.epochs=1 | chain.classifier.train.batch_size=7",
    "chain:classifier.optimizer.lr": "chain.classifier.train.epochs=1 | chain.classifier.optimizer.lr=0.5",
    "chain:small.like": "chain.small.like=rbm",
    "chain:sparse.like": "chain.sparse.like=rbm",
    "chain:echo_state.like": "chain.echo_state.like=rbm",
    "chain:small.model.start": "chain.small.model.start=layers",
    "chain:sparse.model.start": "chain.sparse.model.start=layers",
    "chain:echo_state.model.start": "chain.echo_state.model.start=layers",
    "chain:small.model.initialization": "chain.small.model.initialization=he",
    "chain:sparse.model.initialization": "chain.sparse.model.initialization=he",
    "chain:echo_state.model.initialization": "chain.echo_state.model.initialization=he",
}
# Keys that reach more than one run can show: the test that holds each of them.
HELD = {
    "evaluate:samples.epochs": "test_samples.py::test_they_are_drawn_and_disturb_nothing",
    "evaluate:samples.n": "test_samples.py::test_they_are_drawn_and_disturb_nothing",
    "evaluate:samples.steps": "test_samples.py::test_more_gibbs_steps_are_other_samples",
    "config:task": "test_app.py::test_tasks",
    "data:name": "test_page.py::test_the_command_writes_a_page",
    "config:start_from": "test_start_from.py::test_weights_are_the_other_runs_and_nothing_else",
    "config:resume": "test_resume.py::test_killed_and_resumed_is_unbroken",
    "config:objective": "test_app.py::test_objective_is_what_a_sweep_is_told",
    "config:direction": "test_optuna_sweeper.py::test_every_objective_has_a_direction",
    "config:run": "test_page.py::test_the_command_writes_a_page",
    "config:paper": "test_history.py::test_runs_become_figures_and_a_table",
    "config:study": "test_history.py::test_the_page_of_the_history_has_the_pictures_of_the_sweeps_that_are_there",
    "config:out": "test_page.py::test_the_command_writes_a_page",
    "config:result": "test_history.py::test_a_figure_is_measured_again_from_its_weights_or_by_its_command",
    "config:runs": "test_compare.py::test_runs_are_told_apart_by_what_differs",
    "config:delete": "test_app.py::test_tasks",
    "config:dry": "test_forecast.py::test_a_chain_says_what_it_would_find_and_run_and_what_is_new_in_it",
    "config:why": "test_forecast.py::test_why_a_stage_that_was_run_was_a_new_one",
    "config:trust": "test_own_code.py::test_its_folder_is_a_stranger_s_to_whoever_does_not_trust_it",
    "callbacks:timer.duration": "test_callbacks.py::test_a_timer_ends_a_run_that_then_goes_on",
    "callbacks:timer.interval": "test_callbacks.py::test_a_timer_ends_a_run_that_then_goes_on",
    "config:sample.n": "test_applying.py::test_rows_come_back_in_their_own_units_under_their_own_names",
    "config:sample.steps": "test_applying.py::test_a_run_that_stands_on_layers_takes_rows_through_them",
    "config:sample.label": "test_applying.py::test_mistaken_commands_are_one_line_and_write_nothing",
    "config:interpolate.rows": "test_applying.py::test_rows_come_back_in_their_own_units_under_their_own_names",
    "config:interpolate.points": "test_applying.py::test_rows_come_back_in_their_own_units_under_their_own_names",
    "config:likelihood.samples": "test_likelihood_evaluator.py::test_the_task_measures_a_variational_autoencoder_too",
    "config:likelihood.images": "test_likelihood_evaluator.py::test_the_task_measures_a_variational_autoencoder_too",
    "config:score.by": "test_applying.py::test_a_row_far_from_the_others_is_strange_by_its_code",
    "config:score.quantile": "test_applying.py::test_a_quantile_of_the_training_rows_is_flagged",
    "config:score.threshold": "test_applying.py::test_a_strange_row_is_flagged_and_what_is_strange_in_it_is_named",
    "config:score.top": "test_applying.py::test_a_strange_row_is_flagged_and_what_is_strange_in_it_is_named",
    "config:score.outlier": "test_applying.py::test_labels_of_outliers_give_their_measures",
    "data:path": "test_table.py::test_only_training_rows_are_fitted",
    "data:test_path": "test_own_arrays.py::test_labels_groups_and_parts_stand_beside_the_rows",
    "data:stream": "test_streamed.py::test_the_same_rows_lie_on_disk",
    "data:text": "test_documents.py::test_every_form_of_documents_is_read",
    "data:stop_words": "test_documents.py::test_words_are_the_commonest_of_the_training_part",
    "data=documents:test_path": "test_documents.py::test_a_test_set_in_a_file_of_its_own",
    "data:user": "test_ratings.py::test_columns_are_recognised_or_named",
    "data:item": "test_ratings.py::test_columns_are_recognised_or_named",
    "data:rating": "test_ratings.py::test_columns_are_recognised_or_named",
    "data:split_column": "test_own_arrays.py::test_labels_groups_and_parts_stand_beside_the_rows",
    "data:split_index": "test_own_arrays.py::test_labels_groups_and_parts_stand_beside_the_rows",
    "data:numbers": "test_table.py::test_words_that_mean_missing_and_numbers_that_look_like_ids",
    "data:missing": "test_table.py::test_missing_values",
    "data=array:missing": "test_own_arrays.py::test_missing_entries",
    "data:missing_words": "test_table.py::test_words_that_mean_missing_and_numbers_that_look_like_ids",
    "data:unseen": "test_table.py::test_new_rows_by_the_schema_of_the_run",
    "data:decimal": "test_table.py::test_words_that_mean_missing_and_numbers_that_look_like_ids",
    "data=table:shape": "test_table.py::test_columns_by_name_and_pattern",
    "data:encoding": "test_table.py::test_however_it_is_written_it_is_the_same_table",
    "data:crop": "test_images.py::test_a_centred_piece_is_not_stretched",
    "chain:store": "test_chain.py::test_another_fine_tuning_finds_the_pretraining",
    "chain:also": "test_second_store.py::test_a_stage_of_a_second_store_is_copied_once_and_that_store_is_left_alone",
    "chain:fresh": "test_chain_kill.py::test_a_fresh_chain_that_is_killed_keeps_the_old_stages",
    "chain:baseline": "test_chain.py::test_baseline_is_the_same_net_without_pretraining",
}


CONFIGS = {"config": CONF / "config.yaml", **files()}
CONFIGS |= {
    f"{path.parent.name}={path.stem}": path for path in [*CONF.glob("*/_base.yaml"), *CONF.glob("data/_*.yaml")]
}


def leaves(node: dict, key: str = ""):
    """(dotted key, value) of every leaf; an empty mapping is a leaf too."""
    for name, value in node.items():
        where = f"{key}.{name}" if key else name
        if isinstance(value, dict) and value:
            yield from leaves(value, where)
        elif name not in ("_target_", "_partial_"):
            yield where, value


def keys() -> list[tuple[str, str, object]]:
    """(choice, key, default) of every key that a file of conf/ says: ``choice`` is "config" or "group=option"."""
    found = []
    for choice, path in CONFIGS.items():
        if choice.startswith("experiment="):
            continue  # values for keys of the other groups, no keys of its own
        content = yaml.safe_load(path.read_text()) or {}
        for node in ("defaults", "hydra"):
            content.pop(node, None)
        found += [(choice, key, default) for key, default in leaves(content)]
    return found


KEYS = [key for key in keys() if key[0] != "chain=none"]


def other(choice: str, key: str, default: object) -> tuple[list[str], list[str]]:
    """Overrides of both runs, and those of the second alone."""
    group = choice.split("=")[0]
    text = OTHER.get(f"{choice}:{key}") or OTHER.get(f"{group}:{key}")
    package = re.match(r"# @package (\S+)", CONFIGS[choice].read_text())
    place = package[1] if package else group.replace("/", ".")
    where = key if group == "config" else f"{place}.{key}"
    if text is None and isinstance(default, bool):
        text = f"{where}={str(not default).lower()}"
    if text is None and group == "chain" and isinstance(default, (int, float)):
        text = f"{where}={default + 1 if isinstance(default, int) else default / 2}"
    assert text is not None, f"{choice}:{key} has no other value in the table of this test, so nothing holds it"
    both, _, second = text.rpartition("|")
    return both.split(), second.split()


def named(choice: str) -> list[str]:
    return [] if choice == "config" or "=_" in choice else [choice]


@pytest.fixture(scope="module")
def places(made_data, tmp_path_factory):
    """What the other values of the table may name."""
    folder = tmp_path_factory.mktemp("other")
    for name in ("mnist", "fashion_mnist"):
        write_mnist(folder / "root" / name, n_train=90, n_test=20)
    return {"other": folder / "root", "below": made_layers(folder / "below"), "tmp": folder / "empty", "prints": {}}


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    """What a run would do outside its folder is recorded: W&B, downloads, threads, the bar's title, the Trainer."""
    seen = SimpleNamespace(said=[], trainer={})
    note = lambda what: lambda *args, **kwargs: seen.said.append((what, str(args), str(kwargs)))  # noqa: E731
    own = lambda model, data, *_: model.figures(data) if seen.draws else {}  # noqa: E731 - pictures are slow
    monkeypatch.setattr("aelab.results.figures.run_figures", own)
    monkeypatch.setattr(torch, "set_num_threads", note("threads"))
    monkeypatch.setattr("aelab.data.download.fetch", lambda *_: (_ for _ in ()).throw(UserError("fetched")))
    monkeypatch.setattr("aelab.results.likelihood.paper", lambda: [*paper()[::100], 1.0])  # all 14,500 take 15 s
    monkeypatch.setattr("aelab.watch.wandb_run.histograms_of", lambda *_: {"histograms": 1})
    monkeypatch.setattr("aelab.watch.wandb_run.run_id", lambda *_: "id")
    monkeypatch.setattr("aelab.watch.wandb_run.checkpoints", lambda *_: "checkpoints")
    monkeypatch.setattr("aelab.watch.wandb_run.WandbRun.drawn", lambda *_: {"drawn": 1})

    def start(folder, mode, config, run_id, **about):
        seen.said.append(("start", mode, str(sorted(about.items()))))
        return MagicMock(log=note("log"), watch=note("watch"), log_artifact=note("artifact"))

    monkeypatch.setattr("aelab.watch.wandb_start.start", start)
    trainer = pl.Trainer.__init__

    def init(self, **kwargs):
        seen.trainer.update({k: v for k, v in kwargs.items() if isinstance(v, (int, str))})
        if seen.dry:
            raise Recorded
        seen.said.append(("bar", *(c.title for c in kwargs["callbacks"] if hasattr(c, "title"))))
        trainer(self, **kwargs)

    monkeypatch.setattr(pl.Trainer, "__init__", init)
    seen.dry = seen.draws = False
    return seen


# Groups whose keys change the weights: what evaluators make of those takes a fifth of the time.
UNMEASURED = ("train", "model", "model/network", "model/recipe", "corruption", "optimizer", "schedule")


class Recorded(Exception):
    """The Trainer was about to be made; what it was given is known."""


def fingerprint(cfg, folder: Path, kept: Path, recorded, chain: bool) -> dict:
    """What a run leaves, or would have said: equal for equal runs, and free of the config's own text."""
    recorded.said.clear()
    recorded.trainer.clear()
    if chain:
        return {"plan": [(p.name, p.config, p.options, p.below, p.baseline) for p in cfg]}
    folder.mkdir(parents=True)
    try:
        metrics = train.train(cfg, folder, "aelab")
    except UserError as error:
        return {"error": str(error).replace(str(folder), "")}
    except Recorded:
        return {"trainer": dict(recorded.trainer), "said": [s for s in recorded.said if s[0] == "threads"]}
    state = {}
    for name in ("last", "best"):
        if name == "best" and (folder / "best.ckpt").samefile(folder / "last.ckpt"):
            state["best"] = state["last"]
            continue
        saved = run_folder.read_checkpoint(folder, name, "test")
        state[name] = {
            "weights": in_bytes(saved["state_dict"]),
            "optimizer": in_bytes(saved["optimizer_states"]),
            "callbacks": in_bytes({k: v for k, v in saved["callbacks"].items() if not k.startswith("Clock")}),
        }
    written = sorted(re.sub(r"tfevents.*", "tfevents", str(p.relative_to(folder))) for p in folder.rglob("*"))
    written += [p.read_bytes() for p in sorted(folder.rglob("*.png"))]
    written += sorted(path.name for path in kept.rglob("*"))
    said = [s for s in recorded.said if "timing" not in str(s)]
    return {"metrics": metrics, **state, "written": written, "said": said, "trainer": dict(recorded.trainer)}


def in_bytes(value: object) -> object:
    """Tensors at any depth by their bytes: to print them took a quarter of the time."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), str(value.dtype), value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {name: in_bytes(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [in_bytes(part) for part in value]
    return str(value)


def prepared(choice: str, overrides: list[str], places: dict, recorded, monkeypatch):
    """The config of a run, and whether it is a chain's."""
    filled = [
        text.format(**places) if "{tmp}" in text or "{other}" in text or "{below}" in text else text
        for text in overrides
    ]
    if choice.startswith("chain="):
        return planned(*filled), True
    recorded.dry = choice.startswith("hardware=")
    if recorded.dry:  # as if there were four GPUs
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    cfg = small(*filled)
    if made_from_layers(cfg.model):
        cfg.below = str(places["below"])
    return cfg, False


@pytest.mark.parametrize(("choice", "key", "default"), KEYS, ids=[f"{c}:{k}" for c, k, _ in KEYS])
def test_key_makes_a_difference(choice, key, default, places, tmp_path, recorded, monkeypatch):
    held = HELD.get(f"{choice}:{key}") or HELD.get(f"{choice.split('=')[0]}:{key}")
    if held:
        file, name = held.split("::")
        assert f"def {name}(" in (Path(__file__).parent / file).read_text(), f"{held}, which holds {key}, is not there"
        return
    both, second = other(choice, key, default)
    recorded.draws = "fantasy" in key or key.startswith("figures")
    beside = ["chain=deep_autoencoder"] if choice == "chain=_base" else named(choice)
    beside += ["evaluate=[]"] if choice.split("=")[0] in UNMEASURED else []
    keeps = any("{tmp}" in text for text in second)  # what is written there is then part of the print

    def run(*overrides: str) -> dict:
        cfg, chain = prepared(choice, [*beside, *both, *overrides], places, recorded, monkeypatch)
        kept = places["tmp"] if keeps else tmp_path / "nothing"
        return fingerprint(cfg, tmp_path / str(len(overrides)), kept, recorded, chain)

    plain = (*beside, *both, recorded.draws)
    if keeps or plain not in places["prints"]:  # most keys of an option share the run they are held against
        places["prints"][plain] = run()
    assert places["prints"][plain] != run(*second), f"{second} changed nothing"


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith(("model=", "data=", "corruption=", "logger="))])
def test_equal_runs_have_equal_fingerprints(option, places, tmp_path, recorded, monkeypatch):
    """Otherwise the test above would prove nothing."""
    if option == "logger=tensorboard":
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    prints = []
    for number in range(2):
        cfg, chain = prepared(option, [option], places, recorded, monkeypatch)
        prints.append(fingerprint(cfg, tmp_path / f"{number}" / "run", places["tmp"], recorded, chain))
    assert prints[0] == prints[1]
    assert "error" not in prints[0], prints[0]


def test_no_entry_is_left_over():
    """The table names keys that exist."""
    known = {f"{c}:{k}" for c, k, _ in KEYS} | {f"{c.split('=')[0]}:{k}" for c, k, _ in KEYS}
    assert not set(OTHER) - known
    assert not set(HELD) - known

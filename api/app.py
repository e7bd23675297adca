"""Puts the application together: Eve over the shared client, the service behind it, routes, guard and errors."""

from __future__ import annotations

import logging
from typing import Any

from eve import Eve
from flask import Flask
from flask_pymongo import BSONObjectIdConverter
from pymongo import MongoClient

from api import audit, cors, doors, early, endpoints, errors, idempotency, render, requests
from api.application import Application
from api.auth import browsers
from api.auth.anyone import Anyone
from api.auth.credentials import Authenticator, Credentials
from api.auth.guard import protect
from api.auth.keys import admin_key_in
from api.auth.sessions import sessions_of
from api.console import hooks as console
from api.data import SharedMongo
from api.dialects import DIALECTS
from api.edge import Edge
from api.rate_limits import hooks as rate_limits
from api.resources import domain
from api.routes import docs, health, input_files, jobs, keys, metrics, model_files, openapi, predict, webhooks
from api.validation import AlmanacValidator
from ml.database.client import database_of
from ml.identity.redaction import hide
from ml.service import BuildLimits, Limits, Service
from settings import Settings, eve_settings

log = logging.getLogger(__name__)

#: Threads that predictions leave to everything else, so that health and lists always find one.
FOR_OTHERS = 8


def make_app(settings: Settings, client: MongoClient[dict[str, Any]], authenticator: Authenticator | None) -> Eve:
    """See `api.create_app`."""
    config = eve_settings(settings, domain())
    config["MONGO_CLIENT"] = client
    app = Application(
        "api", settings=config, data=SharedMongo, validator=AlmanacValidator, media=None, static_folder=None
    )
    app.url_map.merge_slashes = False  # // is no path here, rather than a redirect
    app.url_map.converters["ObjectId"] = BSONObjectIdConverter
    app.extensions["service"] = Service(
        database_of(client),
        settings.data_dir / "cache",
        BuildLimits(seconds=settings.build_seconds, memory_mb=settings.build_memory_mb),
        Limits(
            max_batch=settings.max_batch,
            queue_limit=settings.queue_limit,
            places=settings.threads - FOR_OTHERS,
            waits=settings.threads // 4,
            deadline_ms=settings.deadline_ms,
            live_models=settings.live_models,
        ),
        settings.executor,
        settings.webhook_private_targets,
    )
    errors.register(app, DIALECTS)
    render.register(app)
    requests.register(app)
    audit.register(app)
    places = doors.guard(app, settings.threads)
    authenticator = authenticator or authenticator_of(settings, app.extensions["service"])
    limits = rate_limits.limits_of(app, settings, client)
    if settings.cors_origins:
        cors.allow(app, settings.cors_origins)
    if limits is not None:
        rate_limits.before_authentication(app, limits)
    protect(app, authenticator, _public_by(settings))
    if limits is not None:
        rate_limits.after_authentication(app, limits)
    for routes in (predict, model_files, input_files, jobs, keys, metrics, health, webhooks, openapi, docs):
        app.register_blueprint(routes.blueprint)
    for dialect in DIALECTS:
        app.register_blueprint(dialect.blueprint)
    db = database_of(client)
    browsers.register(app, sessions_of(settings, db), db.name, tls=settings.tls is not None)
    endpoints.register(app)
    idempotency.register(app)
    console.register(app)
    early.register(app, places, authenticator, limits, cors=bool(settings.cors_origins))
    app.wsgi_app = Edge(app.wsgi_app, settings.hosts, tls=settings.tls is not None, dialects=DIALECTS)
    return app


def make_worker_app(settings: Settings, service: Service) -> Flask:
    """Health and metrics alone, for a process that only works on jobs."""
    app = Flask("api", static_folder=None)
    app.extensions["service"] = service
    errors.register(app)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(metrics.blueprint)
    protect(app, authenticator_of(settings, service), _public_by(settings))
    app.wsgi_app = Edge(app.wsgi_app, tls=settings.tls is not None)  # type: ignore[method-assign]
    return app


def authenticator_of(settings: Settings, service: Service) -> Authenticator:
    """The one that the settings ask for: keys and users, or everyone is the administrator."""
    if settings.auth == "off":
        log.warning("ALMANAC_AUTH is off: everyone who reaches this server is the administrator")
        return Anyone()
    given = settings.admin_key
    key = given.get_secret_value() if given is not None else admin_key_in(settings.data_dir)
    hide(key)
    return Credentials(key, service.identity)


def _public_by(settings: Settings) -> frozenset[str]:
    """The endpoints that are public by a setting."""
    return frozenset({"metrics.metrics"}) if settings.metrics_public else frozenset()

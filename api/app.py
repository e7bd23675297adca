"""Puts the application together: Eve over the shared client, the service behind it, routes, guard and errors."""

from __future__ import annotations

from typing import Any

from eve import Eve
from flask import Flask
from flask_pymongo import BSONObjectIdConverter
from pymongo import MongoClient

from api import endpoints, errors, render, requests
from api.auth.guard import protect
from api.auth.keys import AdminKey, Authenticator, admin_key_in
from api.data import SharedMongo
from api.resources import domain
from api.routes import health, input_files, model_files, predict
from api.validation import AlmanacValidator
from ml.database.client import database_of
from ml.service import BuildLimits, Service
from settings import Settings, eve_settings


def make_app(settings: Settings, client: MongoClient[dict[str, Any]], authenticator: Authenticator | None) -> Eve:
    """See `api.create_app`."""
    config = eve_settings(settings, domain())
    config["MONGO_CLIENT"] = client
    app = Eve("api", settings=config, data=SharedMongo, validator=AlmanacValidator, media=None, static_folder=None)
    app.url_map.merge_slashes = False  # // is no path here, rather than a redirect
    app.url_map.converters["ObjectId"] = BSONObjectIdConverter
    app.extensions["service"] = Service(
        database_of(client),
        settings.data_dir / "cache",
        BuildLimits(seconds=settings.build_seconds, memory_mb=settings.build_memory_mb),
    )
    # No view is a coroutine: Flask need not look at each function of each request to see that.
    app.ensure_sync = lambda function: function
    errors.register(app)
    render.register(app)
    requests.register(app)
    if authenticator is None:
        key = settings.admin_key
        authenticator = AdminKey(key.get_secret_value() if key is not None else admin_key_in(settings.data_dir))
    protect(app, authenticator)
    for routes in (predict, model_files, input_files, health):
        app.register_blueprint(routes.blueprint)
    endpoints.register(app)
    return app


def make_health_app(service: Service) -> Flask:
    """Health alone, for a process that only works on jobs."""
    app = Flask("api", static_folder=None)
    app.extensions["service"] = service
    errors.register(app)
    app.register_blueprint(health.blueprint)
    return app

"""The desk's app: what does a browser see? Pages, JSON, and who may have them.

=====================  ============================================================================
module                 what it answers
=====================  ============================================================================
``rendering``          how does what the desk knows become a page?
``security``           whose request is this, and may it do that?
``sign_in``            how do people come in and leave?
``common``             what do all routes take, and what do they look up first?
``answers``            what is a browser told when something cannot be done?
``pages``              what is there to read and to decide, as pages?
``api``                the same, as JSON
``figures_pages``      how far is the work, as pages?
``parts``              which figures are told together, and in which words?
``pictures``           how do a few numbers look?
``server``             where is it served?
=====================  ============================================================================
"""

from __future__ import annotations

from importlib.resources import files

from fastapi import Depends, FastAPI, Response
from fastapi.staticfiles import StaticFiles

from secondlook.config import ReviewConfig
from secondlook.review.app import api, figures_pages, pages, sign_in
from secondlook.review.app.answers import answer_errors
from secondlook.review.app.rendering import QUEUE_STYLE, queue_style
from secondlook.review.app.security import Access, Door, Guard, check_csrf, visitor
from secondlook.review.database import Desk

__all__ = ["Access", "Door", "create_app"]


def create_app(desk: Desk, config: ReviewConfig, access: Access, order: str = "rank") -> FastAPI:
    """The web application of a desk.

    Args:
        desk: what it shows and changes; whoever opened it closes it.
        config: choices.
        access: how people come in.
        order: what the next case is chosen by; one of :class:`secondlook.review.queue.Order`.
    """
    app = FastAPI(title="Second Look: the reviewers' desk", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk, app.state.config, app.state.access, app.state.order = desk, config, access, order
    app.state.kept = figures_pages.Kept()
    app.include_router(sign_in.router)
    for router in (pages.router, api.router, figures_pages.router):
        app.include_router(router, dependencies=[Depends(visitor), Depends(check_csrf)])
    app.add_api_route(f"/static/{QUEUE_STYLE}", lambda: Response(queue_style(), media_type="text/css"))
    app.mount("/static", StaticFiles(directory=str(files("secondlook.review.app") / "static")))
    app.add_middleware(Guard, access=access)
    answer_errors(app)
    return app

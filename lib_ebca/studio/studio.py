"""Whole pictures from Python, as the commands make them: recipes in, pictures with their recipe inside out.

In a notebook:

    from lib_ebca.studio import Studio

    studio = Studio.open()
    (picture,) = studio.draw([studio.recipe("a cat and a dog <bcu:0.005:0.01>", seed=1, steps=25, guidance=3)])
    picture.save("cat-and-dog.png")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_ebca.studio import following, foreign, photographs, pictures, request, settings
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.loading import Model, load
from lib_ebca.studio.progress import Advance, silent
from lib_ebca.studio.recipe import EMBEDDED_DEFAULT, Lora, Recipe, Settings, to_text
from lib_ebca.studio.task import Inverting, Task
from lib_ebca.studio.task import to_text as task_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib_ebca.hosts.run import Run
    from lib_ebca.language.plan import Plan
    from lib_ebca.studio.generate import Drawn
    from lib_ebca.studio.photographs import Fitting, Photo


@dataclass(frozen=True)
class Picture:
    """A picture and what is known of it.

    `recipe` has nothing left open, `parameters` is the text that makes the picture again, `comments` are sentences for
    whoever asked, `seconds` its share of the drawing's time, `run` what was recorded while its batch was drawn.
    """

    image: Image
    recipe: Recipe
    parameters: str
    comments: tuple[str, ...]
    seconds: float
    run: Run

    def save(self, path: str | Path) -> None:
        """Writes a PNG with the parameters inside, as the WebUI does. Raises UserError, FileExistsError."""
        pictures.write_new(Path(path), pictures.png(self.image, self.parameters))


class Studio:
    """A loaded model that draws.

    Every method takes recipes that differ in prompt, negative prompt, plan and seed alone and draws them together; a
    picture does not depend on its neighbours but for rounding. All raise UserError, PlanError and WordError, whose text
    is a sentence.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def open(
        cls,
        model: str = EMBEDDED_DEFAULT,
        *,
        loras: Sequence[Lora] = (),
        device: str | None = None,
        dtype: str | None = None,
        allow_pickle: bool = False,
    ) -> Studio:
        """Loads a model: an embedded one by name, a folder in diffusers layout, a single file, or a hub id."""
        asked = settings.checked(Settings(model=model, loras=tuple(loras), device=device, dtype=dtype))
        return cls(load(asked, allow_pickle, inpainting=True))

    def recipe(self, prompt: str, plan: Plan | None = None, *, seed: int = 0, **more: Any) -> Recipe:
        """A recipe for this model. `more` are fields of Settings: steps, guidance, sampler, negative, width, height.

        The prompt's directives and `plan` add up, as the command line's options do.
        """
        source = self.model
        asked = Settings(model=source.source.model, device=source.pipe.device.type, **more)
        (wanted,) = request.wanted([prompt], plan)
        return Recipe(settings.checked(asked), wanted.prompt, wanted.plan, seed)

    def check(self, recipe: Recipe) -> None:
        """Raises UserError and WordError for what can be told of a recipe once the model is there."""
        settings.completed(recipe.settings, self.model)
        request.check_words(request.Wanted(recipe.prompt, recipe.plan), self.model.pipe.tokenizer)

    @property
    def paints_only(self) -> bool:
        """Whether the model was made for inpainting and serves nothing else."""
        pipe = self.model.pipe
        return bool(pipe.unet.config.in_channels != pipe.vae.config.latent_channels)

    def draw(
        self,
        recipes: Sequence[Recipe],
        *,
        advance: Advance = silent,
        record_energies: bool = False,
        record_maps: bool = False,
    ) -> tuple[Picture, ...]:
        """Pictures from prompts alone."""
        from lib_ebca.studio.generate import draw

        made = self._together([replace(each, settings=self._completed(each.settings)) for each in recipes])
        done = draw(self.model, made, advance, record_energies=record_energies, record_maps=record_maps)
        return self._pictures(done, list(done.images), made, None)

    def follow(self, recipes: Sequence[Recipe], *, advance: Advance = silent) -> tuple[Picture, ...]:
        """A picture and those that follow it, as :func:`lib_ebca.studio.following.recipes` makes them of prompts."""
        from lib_ebca.studio.generate import draw

        made = self._together([replace(each, settings=self._completed(each.settings)) for each in recipes])
        done = draw(self.model, made, advance)
        texts = [following.to_text(made, place, self.model.source) for place in range(len(made))]
        drawn = self._pictures(done, list(done.images), made, None)
        return tuple(replace(each, parameters=text) for each, text in zip(drawn, texts, strict=True))

    def vary(
        self,
        recipes: Sequence[Recipe],
        photo: Photo,
        *,
        strength: float = 0.75,
        fit: str = "resize",
        advance: Advance = silent,
    ) -> tuple[Picture, ...]:
        """Pictures that start from a noised photograph; `strength` is the fraction of the pass that is made anew."""
        from lib_ebca.studio.painting import varied

        made, fitted = self._fitted(recipes, photo, fit)
        done = varied(self.model, made, fitted.down(photo.image), strength, advance)
        images = [photo.worn(fitted.up(image)) for image in done.images]
        return self._pictures(done, images, made, Task("img2img", photo.digest, fit, fitted.cut, strength=strength))

    def inpaint(
        self,
        recipes: Sequence[Recipe],
        photo: Photo,
        mask: Image,
        *,
        strength: float = 1.0,
        jumps: tuple[int, int] | None = None,
        paste_back: bool = True,
        feather: float = 0.0,
        fit: str = "resize",
        advance: Advance = silent,
    ) -> tuple[Picture, ...]:
        """Pictures painted anew where `mask` (mode L, of the photograph's size) is white.

        `jumps` (length, count) ask for RePaint, `feather` softens the seam by so many pixels.
        """
        from lib_ebca.studio.painting import Repainting, inpainted

        made, fitted = self._fitted(recipes, photo, fit)
        part, kept = fitted.part(mask), fitted.part(photo.image)
        if photographs.brightest(part) < photographs.HALF_WHITE:
            raise UserError("the mask is black in the part that fit: crop leaves: use fit: resize")
        done = inpainted(
            self.model, made, fitted.down(photo.image), Repainting(fitted.down(mask), strength, jumps), advance
        )
        images = [fitted.up(image) for image in done.images]
        if paste_back:
            images = [photographs.pasted(kept, image, part, feather) for image in images]
        what = Task(
            "inpaint" if jumps is None else "repaint",
            photo.digest,
            fit,
            fitted.cut,
            mask=photographs.digest_of(mask),
            strength=strength if jumps is None else None,
            jumps=jumps,
            paste_back=paste_back,
            feather=feather,
        )
        return self._pictures(done, [photo.worn(image) for image in images], made, what)

    def edit(
        self,
        recipe: Recipe,
        photo: Photo,
        *,
        how: Inverting | None = None,
        fit: str = "resize",
        advance: Advance = silent,
    ) -> Picture:
        """A photograph under its caption, which is the recipe's prompt, and its plan; without one, reconstructed."""
        from lib_ebca.language.directives import parse
        from lib_ebca.studio.painting import edited, inverted

        how = how or Inverting()
        made, fitted = self._fitted([recipe], photo, fit)
        latents = inverted(self.model, fitted.down(photo.image), parse(recipe.prompt).text, made[0], how, advance)
        done = edited(self.model, made[:1], latents, advance)
        images = [photo.worn(fitted.up(done.images[0]))]
        (picture,) = self._pictures(done, images, made, Task("edit", photo.digest, fit, fitted.cut, inverting=how))
        return picture

    def _completed(self, asked: Settings) -> Settings:
        return settings.completed(asked, self.model)

    def _fitted(self, recipes: Sequence[Recipe], photo: Photo, fit: str) -> tuple[list[Recipe], Fitting]:
        asked = recipes[0].settings
        fitted = photographs.fitting(photo.image.size, self.model.size, fit, (asked.width, asked.height))
        width, height = fitted.size
        sized = [
            replace(each, settings=self._completed(replace(each.settings, width=width, height=height)))
            for each in recipes
        ]
        return self._together(sized), fitted

    @staticmethod
    def _together(recipes: Sequence[Recipe]) -> list[Recipe]:
        return [replace(each, batch=len(recipes), position=place) for place, each in enumerate(recipes)]

    def _pictures(
        self, done: Drawn, images: Sequence[Image], made: Sequence[Recipe], what: Task | None
    ) -> tuple[Picture, ...]:
        source, comments = self.model.source, self.model.notes
        return tuple(
            Picture(
                image,
                recipe,
                to_text(recipe, source) if what is None else task_text(recipe, source, what),
                (*foreign.unread_in_prompt(recipe.prompt), *comments, *done.comments(place)),
                done.seconds / len(made),
                done.run,
            )
            for place, (image, recipe) in enumerate(zip(images, made, strict=True))
        )

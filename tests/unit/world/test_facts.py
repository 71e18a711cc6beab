"""The facts promise: the same seed gives the same world, values are unambiguous, and no name is English."""

from itertools import combinations

from plw.config.world import WorldConfig
from plw.world.facts import CITY_VALUES, PERSON_VALUES, World, facts_payload, make_world
from plw.world.language import DIRECTIONS, LANGUAGES


def test_same_config_same_world_and_another_seed_another_world(tiny_config: WorldConfig) -> None:
    assert make_world(tiny_config) == make_world(tiny_config)
    assert facts_payload(make_world(WorldConfig(seed=1))) != facts_payload(make_world(WorldConfig(seed=2)))


def test_a_part_of_the_world_does_not_depend_on_the_size_of_another() -> None:
    few, many = make_world(WorldConfig(myths=20)), make_world(WorldConfig(myths=36))
    assert few.people == many.people
    assert few.tools == many.tools


def test_no_value_belongs_to_two_attributes(full_world: World) -> None:
    values = facts_payload(full_world)["values"]
    for (_, left), (_, right) in combinations(values.items(), 2):
        assert not {value.lower() for value in left} & {value.lower() for value in right}


def test_values_are_single_words_and_each_subject_has_one_of_each(full_world: World) -> None:
    payload = facts_payload(full_world)
    for values in payload["values"].values():
        assert all(value.isalpha() for value in values)
        assert len(set(values)) == len(values)
    for person in full_world.people:
        assert set(payload["subjects"][person.name]) == {"city", *PERSON_VALUES}
    for city in full_world.cities:
        assert set(payload["subjects"][city.name]) == set(CITY_VALUES)
    for attributes in payload["subjects"].values():
        assert all(value in payload["values"][name] for name, value in attributes.items())


def test_names_are_all_different(full_world: World) -> None:
    names = [subject.name.lower() for subject in full_world.subjects()]
    names += [tool.name for tool in full_world.tools] + [myth.plant for myth in full_world.myths]
    names += [word for classes in full_world.languages.words.values() for words in classes.values() for word in words]
    assert len(set(names)) == len(names)


def test_half_of_everyone_is_kept_for_evaluation(full_world: World) -> None:
    for subjects in (full_world.people, full_world.cities, full_world.tools, full_world.myths):
        assert sum(subject.in_training_split for subject in subjects) == len(subjects) // 2


def test_both_halves_know_the_same_values(full_world: World) -> None:
    for name in PERSON_VALUES:
        halves = [
            {p.attributes[name] for p in full_world.people if p.in_training_split is side} for side in (True, False)
        ]
        assert halves[0] == halves[1]


def test_a_myth_is_never_true(full_world: World) -> None:
    assert all(myth.truth != myth.belief for myth in full_world.myths)


def test_six_directions_of_three_languages() -> None:
    assert len(set(DIRECTIONS)) == 6
    assert {name for pair in DIRECTIONS for name in pair} == set(LANGUAGES)


def test_a_sentence_repeats_no_word_and_has_one_word_for_each_meaning(full_world: World) -> None:
    import random

    rng = random.Random(0)
    for _ in range(200):
        meanings = full_world.languages.sentence(rng)
        assert len(set(meanings)) == len(meanings)
        lengths = {len(full_world.languages.say(name, meanings).split()) for name in LANGUAGES}
        assert lengths == {len(meanings)}

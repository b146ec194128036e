"""ALFWorld's rules, grammar reader and expert on a hand-made kitchen in our own words: no wheel needed."""

from __future__ import annotations

import pytest

from atod_sweep.envs.benchmarks.alfworld.engine import NOTHING, Engine, Reply
from atod_sweep.envs.benchmarks.alfworld.expert import Expert
from atod_sweep.envs.benchmarks.alfworld.game import prepare
from atod_sweep.envs.benchmarks.alfworld.grammar import read, solve
from atod_sweep.envs.benchmarks.alfworld.problem import Goal
from atod_sweep.envs.benchmarks.alfworld.problem import read as read_problem
from atod_sweep.errors import UserError

WORDING = '''
grammar :: """
{
  "intro": [{"rhs": "Hi.\\n#look.feedback#\\n#task#"}],
  "task": [{"rhs": "Do: UNKNOWN GOAL."}],
  "inside": [
    {"condition": "openable(r:receptacle) & opened(r:receptacle)", "rhs": "Open, with [{o.name | inreceptacle(o:object, r:receptacle)}]."},
    {"condition": "openable(r:receptacle)", "rhs": "Shut."},
    {"rhs": "On it [{o.indefinite + ' ' + o.name | inreceptacle(o:object, r:receptacle)}]."}
  ],
  "object": [
    {"condition": "isclean(o:object) & issliced(o:object)", "rhs": "clean slices"},
    {"condition": "isclean(o:object)", "rhs": "clean {o.name}"},
    {"condition": "iscool(o:object)", "rhs": "cold {o.name}"},
    {"condition": "ishot(o:object)", "rhs": "hot {o.name}"},
    {"rhs": "plain {o.name}"}
  ],
  "look.feedback": [
    {"condition": "atlocation(a:agent, l:location) & receptacleatlocation(r:receptacle, l:location)",
     "rhs": "At [{r.name | atlocation(a:agent, l:location) & receptacleatlocation(r:receptacle, l:location)}], beside [{#beside(o)# | atlocation(a:agent, l:location) & objectatlocation(o:object, l:location) & receptacleatlocation(r:receptacle, l:location) & not_inreceptacle(o:object, r:receptacle)}]."},
    {"rhs": "Around: [{r.name or r.id | receptacleatlocation(r:receptacle, l:location)}]."}
  ],
  "beside(o)": [{"rhs": "the {o.name}"}],
  "hands": [{"condition": "holdsany(a:agent)", "rhs": "You hold [{o.name | holds(a:agent, o:object)}]."}, {"rhs": "Empty."}],
  "list_empty": [{"rhs": "nothing"}], "list_separator": [{"rhs": ", "}], "list_last_separator": [{"rhs": ", and "}]
}
""";
action GotoLocation { template :: "go to [{r.name | receptacleatlocation(r:receptacle, lend:location)}]"; feedback :: "#go#";
  grammar :: """{"go": [{"rhs": "{r.name}: #inside#"}]}""";
}
action OpenObject { template :: "open {r}"; feedback :: "#inside#";
}
action CloseObject { template :: "close {r}"; feedback :: "#inside#";
}
action PickupObject { template :: "take {o} from {r}"; feedback :: "#hands#";
}
action PutObject { template :: "move {o} to {r}"; feedback :: "#hands#";
}
action inventory { template :: "inventory"; feedback :: "#hands#";
}
action examineReceptacle { template :: "examine {r}"; feedback :: "#inside#";
}
action examineObject { template :: "examine {o}"; feedback :: "#object#";
}
action ToggleObject { template :: "use {o}"; feedback :: "#lit#"; grammar :: """{"lit": [{"rhs": "   Light from {o.name}."}]}""";
}
action CleanObject { template :: "clean {o} with {r}"; feedback :: "#object#";
}
action HeatObject { template :: "heat {o} with {r}"; feedback :: "#object#";
}
action CoolObject { template :: "cool {o} with {r}"; feedback :: "#object#";
}
action SliceObject { template :: "slice {co} with {ko}"; feedback :: "#slice#";
  grammar :: """{"slice": [{"rhs": "{ko.name} through {co.name}"}]}""";
}
action look { template :: "look"; feedback :: "#look.feedback#";
}
action help { template :: "help"; feedback :: "#help.feedback#"; grammar :: """{"help.feedback": [{"rhs": "Help."}]}""";
}
'''  # noqa: E501

# Two shelves share a pose. Numbers run downwards over the sorted ids: the shelf "..._a" is shelf 2.
KITCHEN = """
(define (problem plan_1) (:domain alfred)
 (:objects agent1 - agent Shelf_bar_a Shelf_bar_b Fridge_bar_a Sink_bar_a_bar_SinkBasin Microwave_bar_a - receptacle
   Apple_bar_a Apple_bar_b Knife_bar_a DeskLamp_bar_a - object l1 l2 l3 l4 start - location ; a comment
   AppleType KnifeType DeskLampType - otype ShelfType FridgeType SinkBasinType MicrowaveType - rtype)
 (:init (= (total-cost) 0) (atLocation agent1 start)
   (receptacleAtLocation Shelf_bar_a l1) (receptacleAtLocation Shelf_bar_b l1) (receptacleAtLocation Fridge_bar_a l2)
   (receptacleAtLocation Sink_bar_a_bar_SinkBasin l3) (receptacleAtLocation Microwave_bar_a l4)
   (receptacleType Shelf_bar_a ShelfType) (receptacleType Shelf_bar_b ShelfType)
   (receptacleType Fridge_bar_a FridgeType) (receptacleType Sink_bar_a_bar_SinkBasin SinkBasinType)
   (receptacleType Microwave_bar_a MicrowaveType) (openable Fridge_bar_a) (openable Microwave_bar_a)
   (canContain ShelfType AppleType) (canContain ShelfType KnifeType) (canContain FridgeType AppleType)
   (objectType Apple_bar_a AppleType) (objectType Apple_bar_b AppleType) (objectType Knife_bar_a KnifeType)
   (objectType DeskLamp_bar_a DeskLampType)
   (inReceptacle Apple_bar_a Fridge_bar_a) (objectAtLocation Apple_bar_a l2)
   (inReceptacle Apple_bar_b Fridge_bar_a) (objectAtLocation Apple_bar_b l2)
   (inReceptacle Knife_bar_a Shelf_bar_a) (objectAtLocation Knife_bar_a l1)
   (inReceptacle DeskLamp_bar_a Shelf_bar_b) (objectAtLocation DeskLamp_bar_a l1)
   (pickupable Apple_bar_a) (pickupable Apple_bar_b) (pickupable Knife_bar_a) (toggleable DeskLamp_bar_a)
   (sliceable Apple_bar_a) (sliceable Apple_bar_b)
   (cleanable Apple_bar_a) (heatable Apple_bar_a) (coolable Apple_bar_a)
   (cleanable Apple_bar_b) (heatable Apple_bar_b) (coolable Apple_bar_b))
 GOAL)
"""
ON_SHELF = "(objectType ?o AppleType) (receptacleType ?r ShelfType) (inReceptacle ?o ?r)"
PLACE = f"(:goal (and (exists (?r - receptacle) (exists (?o - object) (and STATE {ON_SHELF})))))"
ANOTHER = "(exists (?p - object) (and (not (= ?o ?p)) (objectType ?p AppleType) (inReceptacle ?p ?r)))"
GOALS = {
    "simple": PLACE.replace("STATE", ""),
    "clean": PLACE.replace("STATE", "(cleanable ?o) (isClean ?o)"),
    "heat": PLACE.replace("STATE", "(heatable ?o) (isHot ?o)"),
    "two": PLACE.replace("STATE", ANOTHER),
    "look": """(:goal (and
        (exists (?t - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?t DeskLampType) (toggleable ?t)
            (isToggled ?t) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?t ?r)))
        (exists (?o - object ?a - agent) (and (objectType ?o AppleType) (holds ?a ?o)))))""",
}
TO_SHELF = "go to shelf 1; move apple 1 to shelf 1"
FETCH = "go to fridge 1; open fridge 1; take apple 1 from fridge 1; "


def engine(goal: str = "simple") -> Engine:
    problem = read_problem(KITCHEN.replace("GOAL", GOALS[goal]))
    return Engine(prepare(problem, read(WORDING).with_task("tidy up")))


def replies(game: Engine, commands: str) -> list[Reply]:
    return [game.step(command) for command in commands.split(";")]


def play(commands: str, goal: str = "simple") -> list[str]:
    return [reply.text for reply in replies(engine(goal), commands)]


def test_goals_are_read_from_their_formulas() -> None:
    goals = {name: read_problem(KITCHEN.replace("GOAL", text)).goal for name, text in GOALS.items()}
    assert goals == {
        "simple": Goal("pick_and_place_simple", "Apple", "Shelf", ""),
        "clean": Goal("pick_clean_then_place_in_recep", "Apple", "Shelf", ""),
        "heat": Goal("pick_heat_then_place_in_recep", "Apple", "Shelf", ""),
        "two": Goal("pick_two_obj_and_place", "Apple", "Shelf", ""),
        "look": Goal("look_at_obj_in_light", "Apple", "", "DeskLamp"),
    }


@pytest.mark.parametrize(
    "goal",
    [
        "(:goal (and (inReceptacleObject ?o ?m) (inReceptacle ?m ?r)))",
        "(:goal (and (isSliced ?o) (inReceptacle ?o ?r)))",
        "(:goal (and (opened ?r)))",
        "",
    ],
)
def test_a_goal_of_another_task_is_refused(goal: str) -> None:
    with pytest.raises(UserError, match="not an ALFWorld problem"):
        read_problem(KITCHEN.replace("GOAL", goal))


def test_the_first_observation_lists_all_receptacles_in_the_order_of_their_ids() -> None:
    assert engine().reset() == "Hi.\nAround: fridge 1, microwave 1, shelf 2, shelf 1, and sinkbasin 1.\nDo: tidy up."


def test_a_walk_through_the_kitchen() -> None:
    told = play(
        "look; go to fridge 1; take apple 2 from fridge 1; open fridge 1; take apple 2 from fridge 1; "
        "take apple 1 from fridge 1; inventory; close fridge 1; move apple 2 to fridge 1; go to shelf 2; "
        "move apple 2 to shelf 2"
    )
    assert told == [
        "Around: nothing.",  # as in the official environment
        "fridge 1: Shut.",
        NOTHING,  # shut
        "Open, with apple 2, and apple 1.",
        "You hold apple 2.",
        NOTHING,  # hands full
        "You hold apple 2.",
        "Shut.",
        NOTHING,  # shut
        "shelf 2: On it a knife 1.",
        "Empty.",
    ]


def test_at_a_shared_pose_both_receptacles_are_at_hand() -> None:
    game = engine("two")
    told = play(
        "go to shelf 2; go to shelf 1; examine shelf 1; take knife 1 from shelf 2; move knife 1 to shelf 1; look"
    )
    assert told == [
        "shelf 2: On it a knife 1.",
        NOTHING,  # already there
        "On it a desklamp 1.",
        "You hold knife 1.",
        "Empty.",
        "At shelf 2, and shelf 1, beside the knife 1.",  # it is no longer on shelf 2, but still at this pose
    ]
    game.step("go to shelf 1")
    assert {"examine shelf 1", "examine shelf 2"} <= game.commands().keys()
    assert "go to shelf 2" not in game.commands()


def test_tools_work_with_the_door_shut_and_heat_drives_out_cold() -> None:
    told = play(
        FETCH + "close fridge 1; cool apple 1 with fridge 1; go to microwave 1; cool apple 1 with microwave 1; "
        "heat apple 1 with microwave 1; go to sinkbasin 1; clean apple 1 with sinkbasin 1; examine apple 1; "
        "examine apple 2"
    )
    assert told[4:] == [
        "cold apple 1",
        "microwave 1: Shut.",
        NOTHING,
        "hot apple 1",
        "sinkbasin 1: On it nothing.",
        "clean apple 1",
        "clean apple 1",
        NOTHING,  # only what is held can be examined
    ]


def test_slicing_needs_a_knife_in_hand_and_the_food_at_the_same_pose() -> None:
    assert play(FETCH + TO_SHELF + "; slice apple 1 with knife 1", "two")[-1] == NOTHING
    armed = FETCH + TO_SHELF + "; take knife 1 from shelf 2; "
    assert play(armed + "slice apple 1 with knife 1", "two")[-1] == "knife 1 through apple 1"
    assert play(armed + "slice apple 2 with knife 1", "two")[-1] == NOTHING  # in the fridge


@pytest.mark.parametrize(
    ("goal", "commands"),
    [
        ("simple", FETCH + TO_SHELF),
        ("heat", FETCH + "go to microwave 1; heat apple 1 with microwave 1; " + TO_SHELF),
        ("clean", FETCH + "go to sinkbasin 1; clean apple 1 with sinkbasin 1; " + TO_SHELF),
        ("look", FETCH + "go to shelf 2; use desklamp 1"),
        ("look", "go to shelf 2; use desklamp 1; " + FETCH + "go to shelf 1"),
        (
            "two",
            FETCH + TO_SHELF + "; go to fridge 1; take apple 2 from fridge 1; go to shelf 1; move apple 2 to shelf 1",
        ),
    ],
)
def test_a_game_is_won_by_the_last_command_and_no_earlier(goal: str, commands: str) -> None:
    game = engine(goal)
    won = [reply.won for reply in replies(game, commands)]
    assert won == [False] * (len(won) - 1) + [True]
    game.reset()
    assert not game.won


@pytest.mark.parametrize(
    ("goal", "commands"),
    [
        (
            "two",
            FETCH + TO_SHELF + "; go to fridge 1; take apple 2 from fridge 1; go to shelf 2; move apple 2 to shelf 2",
        ),
        ("clean", FETCH + "go to microwave 1; heat apple 1 with microwave 1; " + TO_SHELF),
        (
            "heat",
            FETCH
            + "go to microwave 1; heat apple 1 with microwave 1; go to fridge 1; cool apple 1 with fridge 1; "
            + TO_SHELF,
        ),
        ("look", FETCH + "move apple 1 to fridge 1; go to shelf 2; use desklamp 1"),
    ],
)
def test_what_only_looks_like_the_goal_does_not_win(goal: str, commands: str) -> None:
    played = replies(engine(goal), commands)
    assert all(reply.action for reply in played)
    assert not any(reply.won for reply in played)


@pytest.mark.parametrize("goal", list(GOALS))
@pytest.mark.parametrize("knowing", [True, False])
def test_the_expert_recovers_from_any_short_sequence_of_mistakes(goal: str, knowing: bool) -> None:
    detours = [
        "go to shelf 2;take knife 1 from shelf 2",
        "go to fridge 1;open fridge 1;take apple 1 from fridge 1;go to sinkbasin 1;clean apple 1 with sinkbasin 1;"
        "go to fridge 1;cool apple 1 with fridge 1;move apple 1 to fridge 1;close fridge 1",
        "go to shelf 1;use desklamp 1;go to microwave 1;open microwave 1",
    ]
    for detour in detours:
        game = engine(goal)
        expert = Expert(game, knowing)
        for command in detour.split(";"):
            reply = game.step(command)
            assert reply.action is not None, command
            expert.observe(reply.action)
        for _ in range(20):
            if game.won:
                break
            reply = game.step(expert.command())
            assert reply.action is not None
            expert.observe(reply.action)
        assert game.won
        assert expert.command() == "look"


def test_the_searching_expert_goes_by_what_was_shown() -> None:
    """It looks into the single fridge before the two shelves, and takes what it has seen."""
    game = engine()
    expert = Expert(game, knowing=False)
    commands = []
    while not game.won:
        commands.append(expert.command())
        expert.observe(game.step(commands[-1]).action)
    assert commands == [
        "go to fridge 1",
        "open fridge 1",
        "take apple 2 from fridge 1",
        "go to shelf 2",
        "move apple 2 to shelf 2",
    ]


def test_queries_are_answered_in_sorted_order_and_never_bind_two_variables_to_one_entity() -> None:
    facts = {"near": [(1, 1), (1, 2), (2, 3), (3, 1)]}
    query = (("near", ("x", "y")), ("near", ("y", "z")))
    assert list(solve(query, {}, facts)) == [
        {"x": 1, "y": 2, "z": 3},
        {"x": 2, "y": 3, "z": 1},
        {"x": 3, "y": 1, "z": 2},
    ]
    assert list(solve(query, {"z": 2}, facts)) == [{"z": 2, "x": 3, "y": 1}]


def test_white_space_at_the_start_of_a_rule_is_lost() -> None:
    assert play("go to shelf 1; use desklamp 1")[-1] == "Light from desklamp 1."

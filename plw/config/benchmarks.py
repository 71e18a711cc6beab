"""What a suite says of its benchmarks, as the analysis and Table 2 name them."""

from plw.config.evaluation import SuiteConfig
from plw.results.score import protocol_metric


def benchmark_groups(suite: SuiteConfig) -> dict[str, str]:
    """Benchmark -> group."""
    groups = {name: task.group for name, task in suite.tasks.items()}
    return groups | dict.fromkeys(suite.prompts, "long_generation")


def benchmark_info(suite: SuiteConfig) -> dict[str, dict[str, str]]:
    """Benchmark -> task, shots and headline metric."""
    tasks = {
        name: {"task": task.task, "shots": str(task.shots), "metric": task.metric or "–"}
        for name, task in suite.tasks.items()
    }
    prompts = {
        name: {"task": item.protocol, "shots": "–", "metric": protocol_metric(item.protocol)}
        for name, item in suite.prompts.items()
    }
    return tasks | prompts

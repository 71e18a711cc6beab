"""Typed schemas of every choice a user can make; a mistake is one clear line before anything is loaded."""

from plw.config.cell import CellConfig, identity_fields
from plw.config.evaluation import (
    DecodingConfig,
    DiagnosticsConfig,
    PromptSetConfig,
    SuiteConfig,
    TaskConfig,
)
from plw.config.judge import JudgeConfig
from plw.config.loss import FactorConfig, LossConfig, RolesConfig
from plw.config.preference import PreferenceConfig
from plw.config.study import STAGES, ExecutionConfig, RegistryConfig, ScaleConfig, StudyConfig, TrackerConfig
from plw.config.training import DatasetConfig, ModelConfig, RecipeConfig, TemplateConfig
from plw.config.world import WorldConfig

__all__ = [
    "STAGES",
    "CellConfig",
    "DatasetConfig",
    "DecodingConfig",
    "DiagnosticsConfig",
    "ExecutionConfig",
    "FactorConfig",
    "JudgeConfig",
    "LossConfig",
    "ModelConfig",
    "PreferenceConfig",
    "PromptSetConfig",
    "RecipeConfig",
    "RegistryConfig",
    "RolesConfig",
    "ScaleConfig",
    "StudyConfig",
    "SuiteConfig",
    "TaskConfig",
    "TemplateConfig",
    "TrackerConfig",
    "WorldConfig",
    "identity_fields",
]

"""Every driver that a configuration can name. A new driver is its file and its line here."""

from typing import Annotated

from pydantic import Field

from drivers.camera_folder import FolderCameraConfig
from drivers.camera_http import HttpCameraConfig
from drivers.camera_rtsp import RtspCameraConfig
from drivers.modbus import ModbusConfig
from drivers.opcua import OpcUaConfig

TagDeviceConfig = Annotated[ModbusConfig | OpcUaConfig, Field(discriminator="driver")]
AnyCameraConfig = Annotated[
    HttpCameraConfig | RtspCameraConfig | FolderCameraConfig, Field(discriminator="driver")
]
